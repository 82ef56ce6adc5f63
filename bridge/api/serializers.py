"""Serializers of ``/api/v1/``. Fields may be added, but never renamed: programs depend on them."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from bridge import outcomes, phone_visibility, service_window
from bridge.conversations import reactions
from bridge.fanout import subscribers
from bridge.models import Attachment, Attempt, Contact, Conversation, Delivery, Message, WebhookEvent
from channels_setup.codecs.whatsapp_markup import render_html
from channels_setup.models import ApiChannel, ChatChannel, Team

MAX_PREVIEW_BYTES = 2_000
MAX_BODY_BYTES = 64 * 1024
# Fields of a contact that are, or may be, a phone.
CONTACT_NUMBERS = {"name", "phone", "external_id", "username", "caller_id"}


class SentenceField(serializers.CharField):
    """The sentence of the row's ``reason`` code, in the caller's language."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, source="*", **kwargs)

    def to_representation(self, row: Any) -> str:
        if isinstance(row, Message):
            return row.sentence
        return outcomes.render_sentence(row.reason) if row.reason else ""


def hide_phone(values: dict[str, Any], api_channel_id: int) -> dict[str, Any]:
    """Mask the phones in a contact's fields if they are hidden from the caller."""
    if phone_visibility.hides_phones(api_channel_id):
        for name in CONTACT_NUMBERS & values.keys():
            values[name] = phone_visibility.visible_id(values[name], api_channel_id)
    return values


class ContactSerializer(serializers.ModelSerializer[Contact]):
    def to_representation(self, contact: Contact) -> dict[str, Any]:
        return hide_phone(super().to_representation(contact), contact.api_channel_id)

    class Meta:
        model = Contact
        fields = ("id", "name", "phone", "external_id", "user_id", "username", "caller_id")


class WindowSerializer(serializers.Serializer[Any]):
    """The service window: whether free text may be sent now, and until when."""

    state = serializers.ChoiceField(choices=["open", "closed", "none", "unrestricted"])
    expires_at = serializers.DateTimeField(allow_null=True)


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A chat with its contact, current request and service window."""

    # Needs the annotations of ConversationViewSet.get_queryset, and ``now`` in the context. Docstrings of serializers
    # are published in the OpenAPI schema, so such notes are comments.

    chat_id = serializers.IntegerField(source="id", read_only=True)
    contact = ContactSerializer(read_only=True)
    assignee = serializers.IntegerField(source="assignee_id", read_only=True, allow_null=True)
    team = serializers.IntegerField(
        source="team_id", read_only=True, allow_null=True, help_text=_("ID of the team that the chat is assigned to.")
    )
    ticket_id = serializers.IntegerField(read_only=True, allow_null=True, help_text=_("ID of the current request."))
    status = serializers.IntegerField(
        source="ticket_status",
        read_only=True,
        allow_null=True,
        help_text=_("Status of the current request, as a number."),
    )
    change_after_answer = serializers.CharField(
        read_only=True,
        help_text=_("What the client did to an earlier message after your reply: edited, deleted or reacted."),
    )
    window = serializers.SerializerMethodField()

    class Meta:
        model = Conversation
        fields: tuple[str, ...] = (
            *("id", "chat_id", "api_channel", "chat_channel", "contact", "assignee", "team", "ticket_id"),
            *("status", "last_message_at", "unread", "change_after_answer", "window", "created_at"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field(WindowSerializer)
    def get_window(self, row: Any) -> dict[str, Any]:
        if not row.api_channel.provider.service_window:
            state = service_window.WindowState(applies=False, is_open=True)
        else:
            is_open = service_window.is_open(row.window_expires_at, now=self.context["now"])
            state = service_window.WindowState(applies=True, is_open=is_open, expires_at=row.window_expires_at)
        return dict(WindowSerializer(state).data)


class FileSerializer(serializers.ModelSerializer[Attachment]):
    url = serializers.SerializerMethodField(
        help_text=_("No sign-in needed. Links to files stored in the portal expire after a week.")
    )

    class Meta:
        model = Attachment
        fields = ("id", "name", "mime", "size", "url")

    def get_url(self, attachment: Attachment) -> str:
        if attachment.state == Attachment.State.EXPIRED:
            return ""
        return subscribers.build_file_link(attachment)


class ReactionSerializer(serializers.Serializer[Any]):
    by = serializers.ChoiceField(choices=["client", "us"])
    emoji = serializers.CharField()


class PendingReactionSerializer(serializers.Serializer[Any]):
    """Our reaction on its way to the client. ``emoji``: empty if it removes the one before."""

    emoji = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=[reactions.PENDING, reactions.UNKNOWN])


class MessageSerializer(serializers.ModelSerializer[Message]):
    """A message with its files and reactions. The text of a notice is a sentence in the caller's language."""

    chat_id = serializers.IntegerField(source="conversation_id", read_only=True)
    ticket_id = serializers.IntegerField(read_only=True, allow_null=True)
    text = serializers.SerializerMethodField(
        help_text=_("Does not depend on Accept-Language. Words that the portal adds are in the portal's language.")
    )
    localized_text = serializers.CharField(
        read_only=True, help_text=_("The text with words that the portal adds in your language.")
    )
    html = serializers.SerializerMethodField(help_text=_("The text with WhatsApp formatting, as safe HTML."))
    sentence = SentenceField()
    template = serializers.JSONField(read_only=True, allow_null=True)
    replies_to = serializers.IntegerField(
        source="quoted_id",
        read_only=True,
        allow_null=True,
        help_text=_("ID of the quoted message."),
    )
    written_at = serializers.DateTimeField(
        read_only=True,
        help_text=_(
            "When the message was written: the provider's time if it was received late, otherwise the time of receipt."
        ),
    )
    received_late = serializers.BooleanField(
        source="is_received_late",
        read_only=True,
        help_text=_(
            "The message was received minutes or days after it was written. created_at is the time of receipt."
        ),
    )
    edited_at = serializers.SerializerMethodField()
    deleted_at = serializers.SerializerMethodField(
        help_text=_("When the author deleted the message. The text is kept.")
    )
    expired_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text=_("When the text and files were deleted because the channel keeps messages for a limited time."),
    )
    reactions = serializers.SerializerMethodField(
        help_text=_("Reactions of the client, and the one of ours that the provider has accepted.")
    )
    pending_reaction = serializers.SerializerMethodField(
        help_text=_("Our reaction that the provider has not accepted yet. unknown: it may have been sent.")
    )
    files = FileSerializer(source="attachments", many=True, read_only=True)

    def to_representation(self, message: Message) -> dict[str, Any]:
        values = super().to_representation(message)
        # WhatsApp's message IDs hold the phone.
        values["external_id"] = phone_visibility.visible_text(message.external_id, message.api_channel_id)
        return values

    class Meta:
        model = Message
        fields: tuple[str, ...] = (
            *("id", "chat_id", "ticket_id", "api_channel", "direction", "kind", "text", "localized_text", "html"),
            *("status", "status_at"),
            *("external_id", "reason", "sentence", "template", "author", "created_at"),
            *("provider_time", "written_at", "received_late", "edited_at", "deleted_at", "expired_at", "reactions"),
            *("pending_reaction", "replies_to", "files"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field(ReactionSerializer(many=True))
    def get_reactions(self, message: Message) -> list[dict[str, Any]]:
        return ReactionSerializer(reactions.list_accepted(message), many=True).data  # type: ignore[return-value]

    @extend_schema_field(PendingReactionSerializer(allow_null=True))
    def get_pending_reaction(self, message: Message) -> dict[str, Any] | None:
        current = reactions.OurReaction.of_message(message)
        if current is None or current.state not in reactions.OPEN:
            return None
        return {"emoji": current.emoji, "status": current.state}

    def get_edited_at(self, message: Message) -> datetime | None:
        return parse_datetime(str(message.shown.get("edited_at") or ""))

    def get_deleted_at(self, message: Message) -> datetime | None:
        return parse_datetime(str(message.shown.get("revoked_at") or ""))

    def get_text(self, message: Message) -> str:
        return message.sentence if message.direction == Message.Direction.NOTICE else message.text

    @extend_schema_field(serializers.CharField())
    def get_html(self, message: Message) -> str:
        return str(render_html(message.localized_text))


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    sentence = SentenceField()
    answer = serializers.SerializerMethodField()

    def get_answer(self, attempt: Attempt) -> str:
        conversation = attempt.delivery.conversation
        return phone_visibility.visible_text(attempt.answer, conversation.api_channel_id if conversation else None)

    class Meta:
        model = Attempt
        fields = ("number", "started_at", "duration_ms", "http_status", "verdict", "reason", "sentence", "answer")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    chat_id = serializers.IntegerField(source="conversation_id", read_only=True)
    message_id = serializers.IntegerField(read_only=True, allow_null=True)
    next_attempt_at = serializers.SerializerMethodField(help_text=_("Null if there will be no further attempt."))
    sentence = SentenceField()

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = (
            *("id", "key", "kind", "chat_id", "message_id", "api_channel", "track", "state", "attempts"),
            *("next_attempt_at", "reason", "sentence", "created_at", "finished_at"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: Delivery) -> str | None:
        if delivery.state not in Delivery.UNFINISHED:
            return None
        return serializers.DateTimeField().to_representation(delivery.next_attempt_at)


class DeliveryDetailSerializer(DeliverySerializer):
    tries = AttemptSerializer(many=True, read_only=True)

    class Meta(DeliverySerializer.Meta):
        fields: tuple[str, ...] = (*DeliverySerializer.Meta.fields, "tries")
        read_only_fields: tuple[str, ...] = fields


class WebhookEventSerializer(serializers.ModelSerializer[WebhookEvent]):
    """A webhook event with the beginning of its body."""

    # Needs the annotations ``head`` and ``size``, because the bodies of one page can be hundreds of megabytes.

    preview = serializers.SerializerMethodField(help_text=_("The first part of the body as text."))
    size = serializers.IntegerField(read_only=True, help_text=_("Size of the body in bytes."))

    class Meta:
        model = WebhookEvent
        fields: tuple[str, ...] = (
            *("id", "api_channel", "endpoint", "method", "content_type", "received_at", "state", "attempts"),
            *("error", "processed_at", "size", "preview"),
        )
        read_only_fields: tuple[str, ...] = fields

    def get_preview(self, event: Any) -> str:
        return bytes(event.head)[:MAX_PREVIEW_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")


class WebhookEventDetailSerializer(WebhookEventSerializer):
    """A webhook event with its query string, headers and body."""

    headers = serializers.JSONField(read_only=True)
    body_base64 = serializers.SerializerMethodField(help_text=_("The first 64 KB of the body."))

    class Meta(WebhookEventSerializer.Meta):
        fields: tuple[str, ...] = (
            *WebhookEventSerializer.Meta.fields,
            "query_string",
            "headers",
            "traceback",
            "body_base64",
        )
        read_only_fields: tuple[str, ...] = fields

    def get_body_base64(self, event: Any) -> str:
        return b64encode(bytes(event.head)).decode("ascii")


class ChatChannelSerializer(serializers.ModelSerializer[ChatChannel]):
    class Meta:
        model = ChatChannel
        fields = ("id", "name", "kind", "company_id", "created_at")
        read_only_fields: tuple[str, ...] = fields


class TeamSerializer(serializers.ModelSerializer[Team]):
    """A team with those of its chat channels that you see."""

    chat_channels = serializers.SerializerMethodField()

    class Meta:
        model = Team
        fields = ("id", "name", "chat_channels")

    def get_chat_channels(self, team: Any) -> list[int]:
        return [channel.pk for channel in team.shown_chat_channels]


class ApiChannelSerializer(serializers.ModelSerializer[ApiChannel]):
    """An API channel without its secrets. The webhook URL is a secret, and for operators also the Redirect URL."""

    tracked = serializers.ListField(child=serializers.CharField(), read_only=True)
    chat_channels = ChatChannelSerializer(source="shown_chat_channels", many=True, read_only=True)
    sentence = serializers.SerializerMethodField(help_text=_("The last error as a sentence."))

    class Meta:
        model = ApiChannel
        fields: tuple[str, ...] = (
            *("id", "name", "kind", "app_id", "state", "tracked", "chat_channels", "last_error", "sentence"),
            *("last_error_at", "first_inbound_at", "first_outbound_at", "created_at", "archived_at"),
        )
        read_only_fields: tuple[str, ...] = fields

    def get_sentence(self, channel: ApiChannel) -> str:
        return outcomes.render_sentence(channel.last_error) if channel.last_error else ""


class ApiChannelDetailSerializer(ApiChannelSerializer):
    """An API channel with its settings, for admins. It contains no secrets and no webhook URL."""

    class Meta(ApiChannelSerializer.Meta):
        fields: tuple[str, ...] = (
            *ApiChannelSerializer.Meta.fields,
            "redirect_url",
            "send_json",
            "send_utf8",
            "send_multipart",
            "first_message_in_ticket",
            "exact_updated_at",
            "on_unknown",
            "keep_messages_days",
            "keep_files_days",
            "keep_events_days",
        )
        read_only_fields: tuple[str, ...] = fields


# --- input -----------------------------------------------------------------------------------------------


# The same sentence for an unknown user and for one without access, so that it reveals no user IDs of other channels.
NO_SUCH_OPERATOR = _("This operator does not exist or does not have access to the chat.")
NO_SUCH_TEAM = _("This team does not exist or does not serve the chat's channel.")


class AssignmentSerializer(serializers.Serializer[Any]):
    user_id = serializers.PrimaryKeyRelatedField(
        queryset=get_user_model().objects.people().filter(is_active=True),
        allow_null=True,
        required=False,
        error_messages={
            "does_not_exist": NO_SUCH_OPERATOR,
            "incorrect_type": _("Give a user ID, or null for nobody."),
        },
        help_text=_("User ID of the assignee; null to unassign. If missing, a team's members wait for the chat."),
    )
    team_id = serializers.PrimaryKeyRelatedField(
        queryset=Team.objects.all(),
        allow_null=True,
        required=False,
        error_messages={
            "does_not_exist": NO_SUCH_TEAM,
            "incorrect_type": _("Give a team ID, or null for no team."),
        },
        help_text=_("Team ID; null to remove the team. If missing, the chat keeps its team."),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError({"user_id": [self.fields["user_id"].error_messages["required"]]})
        return attrs


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text=_("A sentence in the caller's language."))
    reason = serializers.CharField(help_text=_("A stable code."))
    chat_id = serializers.IntegerField(
        required=False, help_text=_("ID of the chat that the number already has (reason chat_exists).")
    )
    fields = serializers.DictField(required=False, help_text=_("Errors by field."))  # type: ignore[assignment]  # a field named like DRF's attribute
