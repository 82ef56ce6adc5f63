"""Templates and held replies of ``/api/v1/``, and the submission of a chat's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from bridge.decisions import REFUSE, Decision
from bridge.models import Conversation, HeldReply
from bridge.relay import held_replies, reply_submission
from channels_setup import permissions
from channels_setup.codecs.values import MAX_ID
from channels_setup.models import ApiChannel, ChatChannel
from templates_registry import index_cache, selection
from templates_registry.content.components import ParameterFormat
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.content.rendering import Rendering, render
from templates_registry.matching.result import MatchOutcome, MatchResult
from templates_registry.models import Category, Status, Template

from .base import (
    ApiError,
    CanViewSettings,
    ReadOnlyViewSet,
    RecordedLooksMixin,
    documented,
    documented_write,
    run_idempotent,
    visible_chat_channels,
)
from .filtering import SINCE, UNTIL, QueryFilter, parse_choices, parse_number, parse_text
from .serializers import ErrorSerializer
from .template_serializers import (
    HeldReplySerializer,
    PreviewSerializer,
    RecognitionSerializer,
    TemplateSerializer,
    TextToRecognizeSerializer,
    ValuesSerializer,
)

ERROR_RESPONSES = {code: OpenApiResponse(ErrorSerializer) for code in (400, 404, 422)}


# --- templates -------------------------------------------------------------------------------------------


@documented(list="Templates", retrieve="One template")
class TemplateViewSet(ReadOnlyViewSet):
    permission_classes = (IsAuthenticated, CanViewSettings)
    queryset = Template.objects.all()
    serializer_class = TemplateSerializer
    filters = {
        "channel": QueryFilter(read=parse_number, by="api_channel", help="ID of the API channel."),
        "status": QueryFilter(
            read=parse_choices(*Status.values),
            by="status__in",
            help="Deleted templates are listed only if you filter by this status.",
        ),
        "language": QueryFilter(read=parse_text, by="language"),
        "category": QueryFilter(read=parse_choices(*Category.values), by="category__in"),
        "name": QueryFilter(read=parse_text, by="name"),
        "search": QueryFilter(read=parse_text, by=selection.search_templates, help="Words of the name or the text."),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[Template]:
        rows = Template.objects.all().visible_to(self.request.user).select_related("api_channel")
        if Status.DELETED in self.request.query_params.get("status", ""):
            return rows
        return rows.exclude(status=Status.DELETED)

    @extend_schema(
        summary="Preview a template with values",
        request=ValuesSerializer,
        responses={200: PreviewSerializer, **ERROR_RESPONSES},
    )
    @action(detail=True, methods=["post"])
    def preview(self, request: Request, pk: str) -> Response:
        """Return the message as it would be sent, with missing and invalid values. Nothing is sent."""
        template = self.get_object()
        serializer = ValuesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        text_only = not template.api_channel.provider.sends_template_values
        if template.missing:
            raise ApiError(status_code=422, reason="template_not_fillable", sentence=str(template.unsendable_reason))
        try:
            rendering = render(
                template.definition, serializer.validated_data.get("parameters", []), text_only=text_only
            )
        except InvalidTemplate as problem:
            raise ApiError(status_code=422, reason="template_values", sentence=str(problem.sentence)) from None
        return Response(PreviewSerializer(_serialize_preview(rendering)).data)

    @extend_schema(
        summary="Recognize pasted text",
        request=TextToRecognizeSerializer,
        responses={200: RecognitionSerializer, **ERROR_RESPONSES},
    )
    @action(detail=False, methods=["post"])
    def recognize(self, request: Request) -> Response:
        """Find the template of the channel that a text was made from, and its values. Nothing is sent."""
        serializer = TextToRecognizeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        channel = find_channel(request.user, serializer.validated_data["channel"])
        recognition = index_cache.recognize_template(channel, serializer.validated_data["text"])
        return Response(_serialize_recognition(recognition))


def find_channel(user: Any, id_or_name: int | str) -> ApiChannel:
    """Return an API channel that the user may see, by ID or name. Raises NotFound and ApiError."""
    rows = ApiChannel.objects.all()
    if not user.has_perm(permissions.VIEW_ALL_CHATS):
        rows = rows.filter(watched__in=ChatChannel.objects.all().visible_to(user)).distinct()
    by = Q(name=id_or_name)
    if isinstance(id_or_name, int) or (id_or_name.isascii() and id_or_name.isdigit() and len(id_or_name) < 19):
        by = Q(pk=int(id_or_name)) if int(id_or_name) <= MAX_ID else Q(pk__in=[])
    found = list(rows.filter(by)[:2])
    if len(found) > 1:
        sentence = _("Several channels have this name. Give the channel's ID.")
        raise ApiError(status_code=422, reason="channel_ambiguous", sentence=sentence)
    if not found:
        raise NotFound(_("This API channel does not exist, or you do not have access."))
    return found[0]


def _serialize_preview(rendering: Rendering) -> dict[str, Any]:
    return {
        "text": rendering.text,
        "header": rendering.header,
        "body": rendering.body,
        "footer": rendering.footer,
        "media": rendering.media,
        "filename": rendering.filename,
        "offer": rendering.offer,
        "cards": [
            {"media": card.media, "body": card.body, "buttons": _serialize_buttons(card)} for card in rendering.cards
        ],
        "buttons": _serialize_buttons(rendering),
        "html": str(rendering.body_html),
        "ready": rendering.ready,
        "problems": [
            {"field": one.field, "code": one.code, "sentence": str(one.sentence)} for one in rendering.problems
        ],
    }


def _serialize_buttons(rendering: Rendering) -> list[dict[str, str]]:
    return [{"kind": one.kind, "text": one.text, "target": one.target} for one in rendering.buttons]


def _serialize_recognition(found: MatchResult) -> dict[str, Any]:
    answer = found.as_json()
    names = ("outcome", "template", "parameters", "candidates", "difference", "reason")
    body = {name: answer[name] for name in names}
    template = found.entry.template if found.entry else None
    if template is not None and template.format is ParameterFormat.NUMBERED and found.outcome != MatchOutcome.TEMPLATE:
        # Keep the positions of numbered values, with null for values that were not recognized.
        values = [found.parameters.get(variable.key) for variable in template.variables]
        body["parameters"] = values if any(value is not None for value in values) else []
    return body


# --- sending ---------------------------------------------------------------------------------------------


def submit_message(
    conversation: Conversation, content: Mapping[str, Any], *, author: Any
) -> tuple[HeldReply | None, reply_submission.SubmitResult]:
    """Submit a text, a template with values, or a text to hold. Return the held reply, if any, and the result."""
    text = content.get("text", "")
    template_data = content["hold"]["template"] if "hold" in content else content.get("template")
    common = {"conversation_id": conversation.pk, "author": author, "replies_to": content.get("replies_to")}
    if template_data is None:
        return None, reply_submission.submit_reply(text=text, **common)
    template = find_template(conversation.api_channel, template_data, user=author)
    if template is None:
        return None, reply_submission.SubmitResult(decision=Decision(outcome=REFUSE, reason="template_unknown"))
    values = template_data.get("parameters", [])
    if "hold" not in content:
        return None, reply_submission.submit_template_reply(template_id=template.pk, parameters=values, **common)
    return held_replies.hold_reply(text=text, template_id=template.pk, parameters=values, **common)


def find_template(api_channel: ApiChannel, template_data: Mapping[str, Any], *, user: Any) -> Template | None:
    """Return a template of the channel that the user may see, by ID, or by name and language."""
    rows = Template.objects.all().visible_to(user).filter(api_channel=api_channel)
    if "id" in template_data:
        return rows.filter(pk=template_data["id"]).first()
    return rows.filter(name=template_data["name"], language=template_data["language"]).first()


# --- held replies ----------------------------------------------------------------------------------------


@documented(list="Held replies", retrieve="One held reply")
class HeldReplyViewSet(RecordedLooksMixin, ReadOnlyViewSet):
    queryset = HeldReply.objects.all()
    serializer_class = HeldReplySerializer
    filters = {
        "chat_id": QueryFilter(read=parse_number, by="conversation"),
        "state": QueryFilter(read=parse_choices(*HeldReply.State.values), by="state__in"),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[HeldReply]:
        seen = visible_chat_channels(self.request.user)
        rows = HeldReply.objects.filter(conversation__chat_channel__in=seen)
        return rows.annotate(assignee_id=F("conversation__assignee"))

    @documented_write(summary="Cancel a held reply", response=HeldReplySerializer)
    def destroy(self, request: Request, pk: str) -> Response:
        """Cancel the reply. Its text becomes a draft of its author, unless the author has one in that chat."""
        reply = self.get_object()

        def work() -> tuple[int, Any]:
            if not held_replies.cancel_held_reply(reply.pk, visible_chats=[reply.conversation_id]):
                sentence = _("This text is no longer held: it has been sent or dropped.")
                raise ApiError(status_code=409, reason="not_held", sentence=sentence)
            reply.refresh_from_db()
            return 200, HeldReplySerializer(reply).data

        return run_idempotent(request, None, work)
