"""Start of a chat by ``/api/v1/``: a program writes first, with an approved template."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bridge.models import ConsentSource
from bridge.relay import chat_starts
from bridge.relay.chat_starts import ChatStartRefused, GivenConsent

from . import template_views
from .base import UNPROCESSABLE_REASONS, ApiError, documented_write, run_idempotent
from .serializers import ConversationSerializer, MessageSerializer
from .template_serializers import ChannelField, TemplateToSendSerializer


class StartConsentSerializer(serializers.Serializer[Any]):
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field named like DRF's attribute
        ConsentSource.choices, help_text=gettext_lazy("How the client agreed to get messages.")
    )
    note = serializers.CharField(required=False, allow_blank=True, max_length=200)


class NewChatSerializer(serializers.Serializer[Any]):
    """A phone number, the API channel to write from, a template with its values, and the client's consent."""

    channel = ChannelField(help_text=gettext_lazy("ID or name of the API channel to write from."))
    phone = serializers.CharField(max_length=100, help_text=gettext_lazy("In any format, with the country code."))
    name = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text=gettext_lazy("Kept if the client has no name yet.")
    )
    template = TemplateToSendSerializer()
    consent = StartConsentSerializer()


class StartedChatSerializer(serializers.Serializer[Any]):
    """The new chat, and the template's message in it."""

    chat = ConversationSerializer()
    message = MessageSerializer()


def chat_exists(chat_id: int) -> ApiError:
    """Return the error for a number that has a chat with messages already. It names the chat."""
    sentence = _("This number already has a chat. Nothing was sent. Send the template in that chat.")
    error = ApiError(status_code=409, reason="chat_exists", sentence=sentence)
    error.extra = {"chat_id": chat_id}
    return error


class ChatStartMixin:
    """The call ``POST /api/v1/conversations/``."""

    get_queryset: Any
    get_serializer: Any

    @documented_write(summary="Start a chat", request=NewChatSerializer, response=StartedChatSerializer, status=201)
    def create(self, request: Request) -> Response:
        """Write first to a phone number: creates the contact and the chat, records the consent, and sends the template.
        The chat is assigned to nobody. If the number already has a chat with messages, nothing is sent: 409 with the
        reason chat_exists and its chat_id. Only providers that can write first allow it."""
        serializer = NewChatSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        content = serializer.validated_data
        channel = _find_start_channel(request.user, content["channel"])
        try:
            phone = chat_starts.parse_number(content["phone"])
        except ChatStartRefused as problem:
            raise ValidationError({"phone": [str(problem)]}) from None
        template = template_views.find_template(channel.api_channel, content["template"], user=request.user)

        def work() -> tuple[int, Any]:
            try:
                started = chat_starts.start_chat(
                    channel,
                    phone,
                    template_id=template.pk if template else 0,
                    parameters=content["template"].get("parameters", []),
                    consent=GivenConsent(**content["consent"]),
                    name=content.get("name", ""),
                    author=request.user,
                    is_assigned=False,
                )
            except ChatStartRefused as problem:
                reason = problem.reason or ("channel_cannot_start" if channel.problem else "invalid")
                status_code = 422 if reason in (*UNPROCESSABLE_REASONS, "invalid") else 409
                raise ApiError(status_code=status_code, reason=reason, sentence=str(problem)) from None
            if started.message is None:
                raise chat_exists(started.conversation.pk)
            request.named_contact_ids = (started.conversation.contact_id,)  # type: ignore[attr-defined]  # see run_idempotent
            chat = self.get_serializer(self.get_queryset().get(pk=started.conversation.pk)).data
            return 201, {"chat": chat, "message": MessageSerializer(started.message).data}

        return run_idempotent(request, content | {"phone": phone}, work)


def _find_start_channel(user: Any, id_or_name: int | str) -> chat_starts.StartChannel:
    """Return the API channel with its chat channel. Raises NotFound and ApiError."""
    api_channel = template_views.find_channel(user, id_or_name)
    for channel in chat_starts.list_start_channels(user):
        if channel.api_channel.pk == api_channel.pk:
            return channel
    raise NotFound(_("This API channel does not exist, or you do not have access."))
