"""Views of ``/api/v1/``: chats, messages, deliveries, webhook events and channels.

Callers authenticate with ``Authorization: Token …``, or with a session and its CSRF token. Every list is limited to
what the user may see, so an ID outside it is a 404, like an ID that does not exist.
"""

from __future__ import annotations

from typing import Any

from django.db.models import (
    BinaryField,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import BaseSerializer

from bridge import service_window
from bridge.conversations import assignment_rules, chat_looks, merge_lookup, tickets
from bridge.decisions import Decision
from bridge.models import Contact, Conversation, Delivery, Message, ServiceWindow, Ticket, WebhookEvent
from bridge.outbox import resend
from bridge.relay import reply_submission
from channels_setup import permissions
from channels_setup.codecs.phone_numbers import phone_key, search_keys
from channels_setup.models import ApiChannel, ChannelState, ChatChannel, Team
from channels_setup.providers import messengers

from . import contact_views, serializers, template_views
from .base import (
    UNPROCESSABLE_REASONS,
    ApiError,
    CanViewSettings,
    ReadOnlyViewSet,
    RecordedLooksMixin,
    documented,
    documented_write,
    run_idempotent,
    visible_chat_channels,
)
from .chat_starts import ChatStartMixin
from .filtering import SINCE, UNTIL, QueryFilter, parse_choices, parse_number, parse_text
from .template_serializers import NewMessageSerializer, SentMessageSerializer

MAX_CONTACTS_PER_PHONE = 1_000  # contacts with the same number, in all channels


class MessageNotSent(ApiError):
    """Refusal of the relay to send a message."""

    def __init__(self, decision: Decision) -> None:
        status_code = 422 if decision.reason in UNPROCESSABLE_REASONS else 409
        super().__init__(status_code=status_code, reason=decision.reason, sentence=decision.sentence)
        self.decision = decision


# --- conversations ---------------------------------------------------------------------------------------


def filter_chats_by_phone(rows: QuerySet[Conversation], phone: str) -> QuerySet[Conversation]:
    """Filter by phone number in any format. A plus sign that was not escaped in the URL arrives as a space."""
    digits = phone.strip().removeprefix("+")
    found = Contact.objects.with_phone(search_keys(phone) or [phone_key(phone)]).order_by().values_list("pk", flat=True)
    return rows.filter(
        Q(contact__phone__in=[digits, f"+{digits}"]) | Q(contact__in=list(found[:MAX_CONTACTS_PER_PHONE]))
    )


def filter_by_window(rows: QuerySet[Conversation], states: list[str]) -> QuerySet[Conversation]:
    """Filter by the current state of the service window (``service_window.WindowState``)."""
    now = service_window.database_now()
    is_open = Exists(ServiceWindow.objects.filter(conversation=OuterRef("pk"), state="open", expires_at__gt=now))
    was_open = Exists(ServiceWindow.objects.filter(conversation=OuterRef("pk")))
    applies = Q(api_channel__kind__in=[kind for kind, provider in messengers().items() if provider.service_window])
    conditions = {
        "open": applies & Q(is_open),
        "closed": applies & Q(was_open) & ~Q(is_open),
        "none": applies & ~Q(was_open),
        "unrestricted": ~applies,
    }
    condition = Q()
    for state in states:
        condition |= conditions[state]
    return rows.filter(condition)


@documented(list="Chats", retrieve="One chat")
class ConversationViewSet(ChatStartMixin, ReadOnlyViewSet):
    queryset = Conversation.objects.all()
    serializer_class = serializers.ConversationSerializer
    filters = {
        "chat_id": QueryFilter(read=parse_number, by="pk"),
        "api_channel": QueryFilter(read=parse_number, by="api_channel"),
        "chat_channel": QueryFilter(read=parse_number, by="chat_channel"),
        "assignee": QueryFilter(read=parse_number, by="assignee"),
        "team": QueryFilter(read=parse_number, by="team"),
        "external_id": QueryFilter(
            read=parse_text, by="contact__external_id", help="The provider's ID of the contact."
        ),
        "phone": QueryFilter(
            read=parse_text, by=filter_chats_by_phone, help="Phone number of the contact in any format."
        ),
        "window": QueryFilter(read=parse_choices("open", "closed", "none", "unrestricted"), by=filter_by_window),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[Conversation]:
        latest = ServiceWindow.objects.filter(conversation=OuterRef("pk")).order_by("-expires_at")
        live = Ticket.objects.filter(conversation=OuterRef("pk")).exclude(status__in=Ticket.ENDED).order_by("-pk")
        return (
            Conversation.objects.filter(chat_channel__in=visible_chat_channels(self.request.user))
            .select_related("contact", "api_channel")
            .annotate(
                window_expires_at=Subquery(latest.values("expires_at")[:1]),
                ticket_id=Subquery(live.values("pk")[:1]),
                ticket_status=Subquery(live.values("status")[:1]),
            )
        )

    def get_object(self) -> Conversation:
        """Return the conversation. For a merged one, return the conversation that it was merged into."""
        if (current := merge_lookup.find_current_conversation(int(self.kwargs["pk"][:18]))) is not None:
            self.kwargs["pk"] = str(current)
        found: Conversation = super().get_object()
        chat_looks.record_chat_look(self.request.user, found)
        return found

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "now": service_window.database_now()}

    @documented_write(
        summary="Send a message in a chat",
        request=NewMessageSerializer,
        response=SentMessageSerializer,
        status=201,
    )
    @action(detail=True, methods=["post"])
    def messages(self, request: Request, pk: str) -> Response:
        """Send a message under the same window rules as in the desk. If it is refused, the response says why, nothing
        is sent, and the text is saved as the user's draft in this chat."""
        conversation = self.get_object()
        serializer = NewMessageSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        content = serializer.validated_data
        text = content.get("text", "")

        def work() -> tuple[int, Any]:
            reply, submitted = template_views.submit_message(conversation, content, author=request.user)
            if submitted.message is None:
                raise MessageNotSent(submitted.decision)
            return 201, SentMessageSerializer(submitted.message, context={"held": reply}).data

        try:
            return run_idempotent(request, text if list(content) == ["text"] else content, work)
        except MessageNotSent as refusal:
            # Not in work(): the refusal rolls its transaction back.
            if text.strip():
                reply_submission.save_draft(conversation.pk, author=request.user, text=text, decision=refusal.decision)
            raise

    @documented_write(
        summary="Assign a chat",
        request=serializers.AssignmentSerializer,
        response=serializers.ConversationSerializer,
    )
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str) -> Response:
        """Assign a chat and its current request to a user, a team, or both, or to nobody."""
        conversation = self.get_object()
        serializer = serializers.AssignmentSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        user, team = given.get("user_id"), given.get("team_id")
        if user is not None and not Conversation.objects.filter(pk=conversation.pk).visible_to(user).exists():
            raise ValidationError({"user_id": [serializers.NO_SUCH_OPERATOR]})
        if team is not None and not team.chat_channels.filter(pk=conversation.chat_channel_id).exists():
            raise ValidationError({"team_id": [serializers.NO_SUCH_TEAM]})

        def work() -> tuple[int, Any]:
            user_id = user.pk if user else None
            if "user_id" not in given and team is None:  # only the team is removed
                user_id = Conversation.objects.get(pk=conversation.pk).assignee_id
            team_id = (team.pk if team else None) if "team_id" in given else tickets.UNCHANGED
            try:
                assignment_rules.assign_chat(request.user, conversation.pk, user_id=user_id, team_id=team_id)
            except assignment_rules.AssignmentRefused as problem:
                raise ApiError(status_code=403, reason="not_assignable", sentence=str(problem)) from None
            return 200, self.get_serializer(self.get_queryset().get(pk=conversation.pk)).data

        content: Any = {name: value.pk if value else None for name, value in given.items()}
        return run_idempotent(request, content["user_id"] if list(content) == ["user_id"] else content, work)


# --- messages and deliveries -----------------------------------------------------------------------------


def filter_by_external_id(rows: QuerySet[Message], external_id: str) -> QuerySet[Message]:
    """Filter by the provider's message ID. The API channels make the query use the unique index."""
    return rows.filter(api_channel__in=ApiChannel.objects.values("pk"), external_id=external_id)


@documented(list="Messages", retrieve="One message")
class MessageViewSet(RecordedLooksMixin, ReadOnlyViewSet):
    queryset = Message.objects.all()
    serializer_class = serializers.MessageSerializer
    filters = {
        "chat_id": QueryFilter(read=parse_number, by="conversation"),
        "ticket_id": QueryFilter(read=parse_number, by="ticket"),
        "api_channel": QueryFilter(read=parse_number, by="api_channel"),
        "chat_channel": QueryFilter(read=parse_number, by="conversation__chat_channel"),
        "direction": QueryFilter(read=parse_choices(*Message.Direction.values), by="direction__in"),
        "kind": QueryFilter(read=parse_choices(*Message.Kind.values), by="kind__in"),
        "status": QueryFilter(read=parse_choices(*Message.Status.values), by="status__in"),
        "external_id": QueryFilter(read=parse_text, by=filter_by_external_id, help="The provider's ID of the message."),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[Message]:
        seen = visible_chat_channels(self.request.user)
        rows = Message.objects.filter(conversation__chat_channel__in=seen).prefetch_related("attachments")
        return rows.annotate(assignee_id=F("conversation__assignee"))


@documented(list="Deliveries", retrieve="One delivery with its attempts")
class DeliveryViewSet(ReadOnlyViewSet):
    queryset = Delivery.objects.all()
    serializer_class = serializers.DeliverySerializer
    detail_serializer_class = serializers.DeliveryDetailSerializer
    filters = {
        "chat_id": QueryFilter(read=parse_number, by="conversation"),
        "message_id": QueryFilter(read=parse_number, by="message"),
        "api_channel": QueryFilter(read=parse_number, by="api_channel", help="ID of the destination."),
        "chat_channel": QueryFilter(read=parse_number, by="conversation__chat_channel"),
        "kind": QueryFilter(read=parse_choices(*Delivery.Kind.values), by="kind__in"),
        "state": QueryFilter(read=parse_choices(*Delivery.State.values), by="state__in"),
        "key": QueryFilter(read=parse_text, by="key"),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[Delivery]:
        seen = visible_chat_channels(self.request.user)
        rows = Delivery.objects.filter(conversation__chat_channel__in=seen).defer("payload")
        return rows.prefetch_related("tries") if self.action in ("retrieve", "retry") else rows

    @documented_write(summary="Resend a delivery", response=serializers.DeliveryDetailSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Resend a failed or canceled delivery, or one with an unknown outcome, with the same key and content."""
        delivery = self.get_object()

        def work() -> tuple[int, Any]:
            if not resend.resend_deliveries(delivery.pk, by=request.user):
                sentence = _("This delivery is in progress or finished, so it cannot be resent.")
                raise ApiError(status_code=409, reason="not_to_be_sent_again", sentence=sentence)
            return 200, serializers.DeliveryDetailSerializer(self.get_queryset().get(pk=delivery.pk)).data

        return run_idempotent(request, None, work)


# --- raw events ------------------------------------------------------------------------------------------


class CanViewWebhookEvents(BasePermission):
    """Allow admins only: raw events hold unfiltered content of all chats."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.has_perm("bridge.view_webhookevent"))


@documented(list="Webhook events (admins only)", retrieve="One webhook event")
class WebhookEventViewSet(ReadOnlyViewSet):
    queryset = WebhookEvent.objects.all()
    serializer_class = serializers.WebhookEventSerializer
    detail_serializer_class = serializers.WebhookEventDetailSerializer
    permission_classes = (IsAuthenticated, CanViewWebhookEvents)
    filters = {
        "api_channel": QueryFilter(read=parse_number, by="api_channel"),
        "state": QueryFilter(read=parse_choices(*WebhookEvent.State.values), by="state__in"),
        "endpoint": QueryFilter(read=parse_text, by="endpoint"),
        "since": QueryFilter(read=SINCE.read, by="received_at__gte", help=SINCE.help),
        "until": QueryFilter(read=UNTIL.read, by="received_at__lt", help=UNTIL.help),
    }

    def get_queryset(self) -> QuerySet[WebhookEvent]:
        cut = serializers.MAX_BODY_BYTES if self.action == "retrieve" else serializers.MAX_PREVIEW_BYTES
        return WebhookEvent.objects.defer("body", "traceback").annotate(
            head=Func(F("body"), Value(1), Value(cut), function="substring", output_field=BinaryField()),
            size=Func(F("body"), function="octet_length", output_field=IntegerField()),
        )


# --- channels --------------------------------------------------------------------------------------------


def filter_by_chat_channel(rows: QuerySet[ApiChannel], chat_channel: int, channels: list[int]) -> QuerySet[ApiChannel]:
    """Filter by a watched chat channel that the user sees. Other channels are answered like unknown ones."""
    return rows.filter(watched=chat_channel) if chat_channel in channels else rows.none()


@documented(list="API channels with the chat channels they watch", retrieve="One API channel")
class ApiChannelViewSet(ReadOnlyViewSet):
    permission_classes = (IsAuthenticated, CanViewSettings)
    queryset = ApiChannel.objects.all()
    serializer_class = serializers.ApiChannelSerializer
    filters = {
        "kind": QueryFilter(read=parse_text, by="kind"),
        "state": QueryFilter(read=parse_choices(*ChannelState.values), by="state__in"),
        "chat_channel": QueryFilter(read=parse_number, by_channels=filter_by_chat_channel),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.request is not None and self.request.user.has_perm("channels_setup.change_apichannel"):
            return serializers.ApiChannelDetailSerializer
        return serializers.ApiChannelSerializer

    def get_queryset(self) -> QuerySet[ApiChannel]:
        user = self.request.user
        seen = ChatChannel.objects.all().listed_for(user)
        rows = ApiChannel.objects.prefetch_related(Prefetch("watched", seen, to_attr="shown_chat_channels"))
        if user.has_perm(permissions.VIEW_ALL_CHATS) or permissions.sees_settings_only(user):
            return rows
        return rows.filter(pk__in=ApiChannel.watched.through.objects.filter(chatchannel__in=seen).values("apichannel"))


@documented(list="Chat channels", retrieve="One chat channel")
class ChatChannelViewSet(ReadOnlyViewSet):
    permission_classes = (IsAuthenticated, CanViewSettings)
    queryset = ChatChannel.objects.all()
    serializer_class = serializers.ChatChannelSerializer
    filters = {
        "kind": QueryFilter(read=parse_text, by="kind"),
        "api_channel": QueryFilter(read=parse_number, by="watchers"),
    }

    def get_queryset(self) -> QuerySet[ChatChannel]:
        return ChatChannel.objects.all().listed_for(self.request.user)


@documented(list="Teams of your chat channels", retrieve="One team")
class TeamViewSet(ReadOnlyViewSet):
    queryset = Team.objects.all()
    serializer_class = serializers.TeamSerializer

    def get_queryset(self) -> QuerySet[Team]:
        seen = ChatChannel.objects.all().visible_to(self.request.user)
        shown = Prefetch("chat_channels", seen, to_attr="shown_chat_channels")
        return Team.objects.visible_to(self.request.user).prefetch_related(shown)


@csrf_exempt
def api_not_found(request: HttpRequest) -> JsonResponse:
    """Answer unknown addresses under ``/api/`` with JSON instead of an HTML page."""
    sentence = _("Not found. All calls are described at /api/docs/.")
    body = {"error": sentence, "reason": "not_found"}
    return JsonResponse(body, status=404, json_dumps_params={"ensure_ascii": False})


router = SimpleRouter()
router.trailing_slash = "/?"  # with and without a slash, as in /uapi
router.register("conversations", ConversationViewSet, "api-conversation")
router.register("contacts", contact_views.ContactViewSet, "api-contact")
router.register("messages", MessageViewSet, "api-message")
router.register("deliveries", DeliveryViewSet, "api-delivery")
router.register("webhook-events", WebhookEventViewSet, "api-webhook-event")
router.register("channels", ApiChannelViewSet, "api-channel")
router.register("chat-channels", ChatChannelViewSet, "api-chat-channel")
router.register("teams", TeamViewSet, "api-team")
router.register("templates", template_views.TemplateViewSet, "api-template")
router.register("held-replies", template_views.HeldReplyViewSet, "api-held-reply")
