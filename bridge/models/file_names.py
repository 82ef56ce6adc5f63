"""Paths of stored files. They are random; the sender's file name is stored in the database."""

from uuid import uuid4

from django.db import models
from django.utils import timezone


def build_inbound_path(_instance: models.Model, _name: str) -> str:
    return _build_path("inbound")


def build_outbound_path(_instance: models.Model, _name: str) -> str:
    return _build_path("outbound")


def _build_path(folder: str) -> str:
    return f"{folder}/{timezone.now():%Y/%m/%d}/{uuid4().hex}"
