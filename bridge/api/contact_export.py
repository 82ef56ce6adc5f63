"""Download of one person's data from ``/api/v1/``."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from bridge.files import storage_limits
from bridge.maintenance import person_export

from .base import ApiError
from .serializers import ErrorSerializer


class ZipRenderer(BaseRenderer):
    """Accept ``application/zip``. The archive itself is streamed without a renderer."""

    media_type = "application/zip"
    format = "zip"
    charset = None
    render_style = "binary"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return JSONRenderer().render(data)  # an error


class ContactExportMixin:
    """The call ``GET /api/v1/contacts/{id}/export/``."""

    get_object: Any

    @extend_schema(
        summary="Export all data of a person",
        description=(
            "ZIP archive with `data.json`, a readable `index.html` and the files, of all contacts of the person: "
            "merged ones, and those with the same phone on other channels. `data.json` explains its keys. Requires the "
            "permission to export a person's data, which admins have. Returns 410 if the person has been erased."
        ),
        responses={
            (200, "application/zip"): OpenApiTypes.BINARY,
            403: OpenApiResponse(ErrorSerializer),
            410: OpenApiResponse(ErrorSerializer),
            503: OpenApiResponse(ErrorSerializer),
        },
    )
    @action(
        detail=True,
        methods=["get"],
        filter_backends=[],
        pagination_class=None,
        renderer_classes=[JSONRenderer, ZipRenderer],
    )
    def export(self, request: Request, pk: str) -> HttpResponseBase:
        user: Any = request.user
        contact = self.get_object()
        if not user.has_perm(person_export.EXPORT_PERMISSION):
            raise PermissionDenied
        try:
            return person_export.build_download(contact, user=user)
        except person_export.PersonErased:
            raise ApiError(
                status_code=410, reason="person_erased", sentence=_("This person has been erased.")
            ) from None
        except storage_limits.DiskAlmostFull as problem:
            raise ApiError(status_code=503, reason="disk_full", sentence=str(problem)) from None
        except person_export.FilesUnavailable as problem:
            raise ApiError(status_code=503, reason="files_unavailable", sentence=str(problem)) from None
