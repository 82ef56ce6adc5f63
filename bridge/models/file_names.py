"""Names of stored files on disk: ours alone. What a sender calls a file is kept in the database."""

from uuid import uuid4

from django.db import models
from django.utils import timezone


def inbound(_instance: models.Model, _name: str) -> str:
    return _name_in("inbound")


def outbound(_instance: models.Model, _name: str) -> str:
    return _name_in("outbound")


def _name_in(folder: str) -> str:
    return f"{folder}/{timezone.now():%Y/%m/%d}/{uuid4().hex}"
