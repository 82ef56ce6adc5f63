"""Erasure of a person by ``/api/v1/``."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from bridge.maintenance import erasure, erasure_log
from bridge.models import Erasure

from .base import ApiError
from .serializers import ErrorSerializer


class ErasureSerializer(serializers.ModelSerializer[Erasure]):
    """Receipt: who, when, row counts, and what stays outside. Contains no personal data."""

    class Meta:
        model = Erasure
        fields = ("id", "contact", "at", "by", "source", "counts", "outside")
        read_only_fields = fields


class ContactErasureMixin:
    """The call ``POST /api/v1/contacts/{id}/erase/``."""

    get_object: Any

    @extend_schema(
        summary="Erase a person",
        description=(
            "Erases all data of the person on all channels: merged contacts, and those with the same phone. Cannot be "
            "undone. Can be repeated. Returns a receipt per contact; `outside` lists copies that the portal cannot "
            "erase, with their numbers in the helpdesk. Requires the permission to erase a person, which admins have."
        ),
        request=None,
        responses={
            200: ErasureSerializer(many=True),
            403: OpenApiResponse(ErrorSerializer),
            404: OpenApiResponse(ErrorSerializer),
            503: OpenApiResponse(ErrorSerializer),
        },
    )
    @action(detail=True, methods=["post"], filter_backends=[], pagination_class=None)
    def erase(self, request: Request, pk: str) -> Response:
        user: Any = request.user
        contact = self.get_object()
        if not user.has_perm(erasure.ERASE_PERMISSION):
            raise PermissionDenied
        try:
            receipts = erasure.erase_person(contact.pk, by=user, source=Erasure.Source.API)
        except erasure_log.ErasureLogUnavailable:
            sentence = _("Nothing was erased: the erasure log cannot be written. Tell the system administrator.")
            raise ApiError(status_code=503, reason="erasure_log", sentence=sentence) from None
        return Response(ErasureSerializer(receipts, many=True).data)
