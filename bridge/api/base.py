"""Shared parts of ``/api/v1/``: base view set, error responses, JSON parser, idempotency, schema decorators."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, status, viewsets
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from bridge import person_erased
from bridge.conversations import chat_looks
from bridge.idempotency import IdempotencyKeyReused, InvalidIdempotencyKey, StoredResponse, run_once
from bridge.models import Contact
from channels_setup import permissions
from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.models import ChatChannel

from .filtering import KeysetPagination, QueryFilter, QueryFilterBackend
from .serializers import ErrorSerializer

# --- errors ----------------------------------------------------------------------------------------------


# Reasons that lie in the call itself: 422. All other refusals depend on the current state: 409.
UNPROCESSABLE_REASONS = ("empty", "too_long", "files_not_supported", "template_unknown", "template_values")


class ApiError(exceptions.APIException):
    """Error response with a status code, a sentence for people and a stable reason code for programs."""

    extra: Mapping[str, Any] = {}  # further fields of the response

    def __init__(self, *, status_code: int, reason: str, sentence: str) -> None:
        super().__init__(sentence, reason)
        self.status_code = status_code


# Error messages that replace DRF's, because these say what to do.
CLEARER_MESSAGES = {
    exceptions.Throttled: gettext_lazy("Too many calls with this token. Try again later."),
    exceptions.UnsupportedMediaType: gettext_lazy(
        "Send a JSON object with the header “Content-Type: application/json”."
    ),
    exceptions.NotAuthenticated: gettext_lazy(
        "Send a token in the header “Authorization: Token …”. Create one under My account, or ask an admin."
    ),
}


def error_response(problem: Exception, context: dict[str, Any]) -> Response | None:
    """Exception handler of DRF: return ``{"error": sentence, "reason": code}``, with ``fields`` for invalid fields."""
    if person_erased.is_refusal(problem):
        return Response(
            {"error": str(person_erased.SENTENCE), "reason": person_erased.REASON}, status=person_erased.STATUS
        )
    if isinstance(problem, OperationalError):
        body = {"error": _("Not saved. Try again."), "reason": "try_again"}
        return Response(body, status=status.HTTP_503_SERVICE_UNAVAILABLE, headers={"Retry-After": "5"})
    response = exception_handler(problem, context)
    if response is None:
        return None
    if isinstance(problem, exceptions.ValidationError):
        fields = problem.detail if isinstance(problem.detail, dict) else {"": problem.detail}
        whole = ("", api_settings.NON_FIELD_ERRORS_KEY)  # keys of errors that concern no single field
        lines = [
            str(text) if name in whole else f"{name}: {text}"
            for name, texts in fields.items()
            for text in _flatten(texts)
        ]
        response.data = {"error": " ".join(lines), "reason": "invalid", "fields": fields}
    elif isinstance(problem, exceptions.APIException):
        response.data = {
            "error": str(CLEARER_MESSAGES.get(type(problem), problem.detail)),
            "reason": str(problem.get_codes()),
            **getattr(problem, "extra", {}),
        }
    elif isinstance(problem, Http404):
        response.data = {"error": _("Not found, or you do not have access."), "reason": "not_found"}
    else:
        response.data = {"error": response.data["detail"], "reason": response.data["detail"].code}
    return response


def _flatten(texts: Any) -> Iterable[Any]:
    if isinstance(texts, Mapping):
        return [text for inner in texts.values() for text in _flatten(inner)]
    return texts if isinstance(texts, list | tuple) else [texts]


class SafeJSONParser(BaseParser):
    """Parse JSON objects with the limits of webhooks: number of bytes, length of numbers, depth of nesting."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestDataTooBig
        try:
            return parse_json_object(body)
        except BadBody as problem:
            raise exceptions.ParseError(str(problem)) from None


# --- writing ---------------------------------------------------------------------------------------------


def run_idempotent(request: Request, content: Any, work: Callable[[], tuple[int, Any]]) -> Response:
    """Run ``work`` once for each Idempotency-Key of this user and store its response. Errors are not stored.

    ``content`` is compared when a key is used again: a call with other content is rejected.
    """

    def answer() -> StoredResponse:
        status_code, data = work()
        contact_ids = getattr(request, "named_contact_ids", ())  # see ReadOnlyViewSet.get_object
        return StoredResponse(
            status=status_code, body=json.loads(JSONRenderer().render(data)), contact_ids=tuple(contact_ids)
        )

    fingerprint = f"{request.method} {request.path.rstrip('/')}\n{json.dumps(content, sort_keys=True)}".encode()
    try:
        stored = run_once(
            owner=f"user:{request.user.pk}",
            key=request.headers.get("idempotency-key", ""),
            request=fingerprint,
            work=answer,
        )
    except InvalidIdempotencyKey as problem:
        raise ApiError(status_code=400, reason="invalid", sentence=str(problem)) from None
    except IdempotencyKeyReused as problem:
        raise ApiError(status_code=409, reason="key_reused", sentence=str(problem)) from None
    return Response(stored.body, status=stored.status)


# --- views and their schema ------------------------------------------------------------------------------

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="Makes the call safe to repeat: it is executed once.",
)


def documented_write(
    *, summary: str, response: type[BaseSerializer[Any]], request: Any = None, status: int = 200
) -> Callable[[Any], Any]:
    """Describe a writing call in the OpenAPI schema."""
    errors = {code: OpenApiResponse(ErrorSerializer) for code in (400, 404, 409, 410, 422)}
    return extend_schema(
        summary=summary, request=request, responses={status: response, **errors}, parameters=[IDEMPOTENCY_KEY]
    )


READ_DESCRIPTIONS = {
    "list": "Paged, newest first. `next` is the URL of the next page, or null on the last page.",
    "retrieve": "Returns 404 if the object does not exist or you do not have access.",
}


def documented(**summaries: str) -> Callable[[Any], Any]:
    """Describe the list and retrieve calls in the OpenAPI schema."""
    return extend_schema_view(
        **{name: extend_schema(summary=text, description=READ_DESCRIPTIONS[name]) for name, text in summaries.items()}
    )


def visible_chat_channels(user: Any) -> list[int]:
    """Return the IDs of the chat channels whose chats the user may see.

    IDs instead of a subquery let PostgreSQL plan by how common they are. For an operator with one small and one busy
    channel that was ten times faster.
    """
    return ChatChannel.objects.list_visible_ids(user)


class CanViewChats(BasePermission):
    """Allow users who may see chats. Which chats is up to each query set."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.has_perm(permissions.VIEW_CHATS))


class CanViewSettings(CanViewChats):
    """Allow users who may see chats, and auditors for reading."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS and request.user and request.user.has_perm(permissions.VIEW_CHANNELS):
            return True
        return super().has_permission(request, view)


class RecordedLooksMixin:
    """Record looks at the chats of others. Each row has ``conversation_id`` and the annotation ``assignee_id``."""

    request: Any

    def get_object(self) -> Any:
        found = super().get_object()  # type: ignore[misc]  # of the view set
        self._record_looks([found])
        return found

    def paginate_queryset(self, queryset: Any) -> Any:
        rows = super().paginate_queryset(queryset)  # type: ignore[misc]
        self._record_looks(rows or [])
        return rows

    def _record_looks(self, rows: Iterable[Any]) -> None:
        chat_looks.record_chat_looks(self.request.user, [(row.conversation_id, row.assignee_id) for row in rows])


class ReadOnlyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]):
    """Base view set: a list with query filters, and single objects by ID."""

    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated, CanViewChats)
    filters: dict[str, QueryFilter] = {}
    lookup_value_regex = "[0-9]{1,19}"
    filter_backends = (QueryFilterBackend,)
    pagination_class = KeysetPagination
    parser_classes = (SafeJSONParser,)
    detail_serializer_class: type[BaseSerializer[Any]] | None = None  # for a single object, if it has more fields

    writes_to_erased: tuple[str, ...] = ()  # actions that an erased person does not refuse

    def get_object(self) -> Any:
        """Return the object. Raises PersonErased if the call would change something of an erased person."""
        found = super().get_object()
        owner = getattr(found, "conversation", found)
        contact = owner if isinstance(owner, Contact) else getattr(owner, "contact", None)
        if isinstance(contact, Contact) and self.request.method not in SAFE_METHODS:
            if contact.erased_at and self.action not in self.writes_to_erased:
                raise person_erased.PersonErased
            self.request.named_contact_ids = (contact.pk,)  # type: ignore[attr-defined]  # read by run_idempotent
        return found

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.action == "retrieve" and self.detail_serializer_class:
            return self.detail_serializer_class
        return super().get_serializer_class()

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return error_response
