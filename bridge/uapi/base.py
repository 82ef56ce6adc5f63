"""The helpdesk's public API, as Acebot, bots and scripts call it: ``/uapi/…``.

Shapes and manners are the helpdesk's own: the token stands in the body, errors are HTTP 200 with
``{"error": sentence, "code": number}``, ids are given as numbers or numeric strings, and all four encodings are
taken. Extensions of ours are optional: ``message.id`` makes addMessage idempotent, ``message.timestamp`` is the
clock that the service window goes by, an ``Idempotency-Key`` header makes every writing call safe to repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError, DataError
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.views import APIView

from bridge import call_limits
from bridge.conversations import erased_ids, merge_lookup, receiving, tickets
from bridge.files import storage_limits
from bridge.idempotency import IdempotencyKeyReused, InvalidIdempotencyKey, StoredResponse, run_once
from bridge.models import Contact, Conversation, WebhookEvent
from bridge.raw_requests import (
    MAX_BYTES,
    MAX_BYTES_WITH_FILES,
    BodyTooLarge,
    build_event,
    mask_secret,
    read_raw_request,
)
from bridge.relay import held_replies, reply_submission
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody, decode_body
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived, RawRequest

from .errors import (
    BAD_FIELD,
    BAD_TOKEN,
    ERASED,
    KEY_REUSED,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_SENT,
    TOO_LARGE,
    TOO_MANY,
    UapiError,
)
from .identity import MAX_ID_LENGTH, find_client, list_unused, read_sender
from .parameters import MethodParameters, define_parameters, is_given, read_text

logger = logging.getLogger(__name__)

__all__ = [
    *(
        "BAD_FIELD",
        "BAD_TOKEN",
        "ERASED",
        "KEY_REUSED",
        "NOT_ALLOWED",
        "NOT_FOUND",
        "NOT_SENT",
        "TOO_LARGE",
        "UapiError",
    ),
    *("AddMessage", "UapiCall", "ChangeAssignee", "Channels", "NoSuchMethod", "SendMessage", "UapiView"),
]


@dataclass(frozen=True, kw_only=True)
class UapiCall:
    """One authenticated call."""

    api_channel: ApiChannel
    values: dict[str, Any]
    files: tuple[UploadedFile, ...]


class UapiView(APIView):
    """One method of the API. Subclasses say what it does in ``answer``; the manners are here."""

    authentication_classes: tuple[type, ...] = ()
    permission_classes: tuple[type, ...] = ()
    schema = None
    methods: tuple[str, ...] = ("POST",)
    limit = MAX_BYTES
    writes = True
    parameters = MethodParameters()

    def answer(self, call: UapiCall) -> Any:
        """The answer's body, or UapiError. Runs in the transaction that also stores the raw request."""
        raise NotImplementedError(f"{type(self).__name__} has no answer")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Straight to the work on exact bytes: DRF's parsing would read the body before we do."""
        if request.method not in self.methods:
            return JsonResponse(
                UapiError(BAD_FIELD, _("Use %(methods)s.") % {"methods": " / ".join(self.methods)}).body(),
                status=405,
            )
        try:
            return self._handle(read_raw_request(request, limit=self.limit))
        except BodyTooLarge:
            return JsonResponse(UapiError(TOO_LARGE, _("The body is too large.")).body(), status=413)
        except call_limits.TooManyCalls as problem:
            error = UapiError(TOO_MANY, _("Too many calls with this key. Try again later."))
            return JsonResponse(error.body(), status=429, headers={"Retry-After": str(problem.wait)})
        except storage_limits.DiskAlmostFull as problem:
            return JsonResponse({"error": str(problem), "code": 503}, status=503, headers={"Retry-After": "60"})
        except DataError:
            logger.exception("value not storable")
            return self._json(UapiError(BAD_FIELD, _("A value in the call cannot be stored.")).body())
        except (DatabaseError, OSError):  # a full disk, too: a file could not be stored
            logger.exception("call not stored")
            sentence = _("Not stored. Please try again.")
            return JsonResponse({"error": sentence, "code": 503}, status=503, headers={"Retry-After": "5"})

    def _handle(self, raw: RawRequest) -> HttpResponse:
        try:
            decoded = decode_body(body=raw.body, content_type=raw.content_type, query_string=raw.query_string)
        except BadBody as problem:
            # Without a readable body there is no token, so nobody to whom the request could be shown.
            return self._json(UapiError(BAD_FIELD, str(problem)).body())
        token = values.as_text(decoded.values.get("api_token"))
        api_channel = ApiChannel.objects.all().by_secret(token)
        if api_channel is None:
            refused = self._json(UapiError(BAD_TOKEN, _("The api_token is missing or wrong.")).body())
            refused.is_token_refused = True  # type: ignore[attr-defined]  # for config.accounts.wrong_tokens
            return refused
        call_limits.call_counter.count(f"api_channel:{api_channel.pk}")
        without_key = mask_secret(raw, token)
        call = UapiCall(api_channel=api_channel, values=decoded.values, files=decoded.files)
        try:
            result = run_once(
                owner=f"api_channel:{api_channel.pk}",
                key=raw.headers.get("idempotency-key", "") if self.writes else "",
                request=f"{type(self).__name__}\n{without_key.query_string}\n".encode() + without_key.body,
                work=lambda: self._work(call, without_key, token),
            )
            return self._json(result.body, ignored=self.parameters.ignored(call.values))
        except (BadBody, InvalidIdempotencyKey) as problem:
            error = UapiError(BAD_FIELD, str(problem))
        except IdempotencyKeyReused as problem:
            error = UapiError(KEY_REUSED, str(problem))
        except UapiError as problem:
            error = problem
        if self.writes:
            self._keep_failed(call, without_key, token, error)
        return self._json(error.body())

    def _work(self, call: UapiCall, raw: RawRequest, token: str) -> StoredResponse:
        self.parameters.check(call.values, has_files=bool(call.files))
        body = self.answer(call)
        if isinstance(body, dict) and (ignored := self.parameters.ignored(call.values)):
            body = body | {"ignored": sorted({*body.get("ignored", []), *ignored})}
        if self.writes:
            event = build_event(raw, api_channel=call.api_channel, endpoint=self._endpoint(), secrets=[token])
            event.state, event.processed_at = WebhookEvent.State.PROCESSED, timezone.now()
            event.save(force_insert=True)
        return StoredResponse(status=200, body=body)

    def _keep_failed(self, call: UapiCall, raw: RawRequest, token: str, error: UapiError) -> None:
        """An authentic request that could not be used is shown to the admin, too: but not an erased person's words."""
        if error.code == ERASED:
            return
        event = build_event(raw, api_channel=call.api_channel, endpoint=self._endpoint(), secrets=[token])
        # A reply that the rules hold back was understood: nothing for an admin to mend.
        understood = error.code == NOT_SENT
        event.state = WebhookEvent.State.PROCESSED if understood else WebhookEvent.State.FAILED
        event.error, event.processed_at = error.sentence[:2000], timezone.now()
        event.save(force_insert=True)

    def _endpoint(self) -> str:
        return type(self).__name__[0].lower() + type(self).__name__[1:]

    def _json(self, body: Any, *, ignored: Sequence[str] = ()) -> JsonResponse:
        headers = {"Okno-Ignored": quote(", ".join(ignored), safe=", ")} if ignored else {}
        return JsonResponse(body, safe=False, json_dumps_params={"ensure_ascii": False}, headers=headers)


class NoSuchMethod(UapiView):
    """Whatever else is called under ``/uapi/``: its callers understand an error in this shape, and no page."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        sentence = _("There is no method “%(name)s” here.") % {"name": kwargs["name"][:60]}
        return self._json(UapiError(NOT_FOUND, sentence).body())


class AddMessage(UapiView):
    """``chat/addMessage``: a message from the client; opens the chat when there is none."""

    limit = MAX_BYTES_WITH_FILES
    parameters = define_parameters("company_id", "channel_id", "chat_id", "message", files=True)

    def answer(self, call: UapiCall) -> dict[str, Any]:
        message = call.values.get("message")
        if isinstance(message, str):
            message = {"text": message}
        if not isinstance(message, dict):
            raise BadBody(_("“message” is missing."))
        chat_channel = self._chat_channel(call)
        conversation = get_conversation(call, chat_channel) if call.values.get("chat_id") not in (None, "") else None
        fact = _build_message_fact(call.api_channel, message, has_files=bool(call.files))
        if not erased_ids.drop_erased(call.api_channel, [fact]):
            raise UapiError(ERASED, _("This message was erased at the person's wish. It is not taken again."))
        incoming = receiving.IncomingMessage(
            fact=fact,
            chat_channel=conversation.chat_channel if conversation else chat_channel,
            contact=conversation.contact if conversation else _find_known_client(call, message, fact),
            uploads=call.files,
        )
        received = receiving.receive_messages(call.api_channel, [incoming])[0]
        if received.is_new:
            held_replies.release_held_replies([received.conversation.pk])
        call.api_channel.record_inbound()
        _mark_number_issued(received.conversation.contact, fact.contact)
        unused = list_unused(_get_sender(message))
        return ({"ignored": unused} if unused else {}) | {
            "chat_id": received.conversation.pk,
            "company_id": chat_channel.company_id,
            "ticket_id": None if received.opened_chat else received.message.ticket_id,
            "channel_id": received.conversation.chat_channel_id,
            "client_id": received.conversation.contact_id,
            "message_id": received.message.pk,
        }

    def _chat_channel(self, call: UapiCall) -> ChatChannel:
        channel_id = values.parse_id(call.values.get("channel_id"), "channel_id")
        if channel_id is None:
            raise BadBody(_("“channel_id” is missing."))
        watching = call.api_channel.watched.through.objects.filter(
            chatchannel=OuterRef("pk"), apichannel=call.api_channel.pk
        )
        channel = ChatChannel.objects.filter(pk=channel_id).annotate(is_watched=Exists(watching)).first()
        if channel is None:
            raise UapiError(NOT_FOUND, _("channel_id %(id)s is not a chat channel.") % {"id": channel_id}, status=False)
        if not channel.is_watched:
            raise UapiError(NOT_ALLOWED, _("This API channel does not watch chat channel %(id)s.") % {"id": channel_id})
        company_id = values.parse_id(call.values.get("company_id"), "company_id")
        if company_id is not None and company_id != channel.company_id:
            raise UapiError(
                NOT_ALLOWED, _("company_id %(id)s is not the company of this channel.") % {"id": company_id}
            )
        return channel


def get_conversation(call: UapiCall, chat_channel: ChatChannel | None = None) -> Conversation:
    """The chat that ``chat_id`` names, among those this API channel may speak in."""
    chat_id = values.parse_id(call.values.get("chat_id"), "chat_id")
    if chat_id is None:
        raise BadBody(_("“chat_id” is missing."))
    chat_id = merge_lookup.find_current_conversation(chat_id) or chat_id
    chats = Conversation.objects.filter(pk=chat_id).select_related("contact", "chat_channel", "api_channel")
    if chat_channel is not None:
        chats = chats.filter(chat_channel=chat_channel, api_channel=call.api_channel)
    else:
        chats = chats.filter(chat_channel__in=call.api_channel.watched.all())
    chat = chats.first()
    if chat is None:
        raise UapiError(NOT_FOUND, _("There is no chat %(id)s in the channels of this API channel.") % {"id": chat_id})
    return chat


def _find_known_client(call: UapiCall, message: dict[str, Any], fact: MessageReceived) -> Contact | None:
    return find_client(call.api_channel, _get_sender(message), fact.contact)


def _mark_number_issued(contact: Contact, info: ContactInfo) -> None:
    """A caller that gave no id of its own can only name the client by the number in our answer."""
    if not (info.caller_id or contact.caller_id or contact.external_id or contact.number_issued):
        Contact.objects.filter(pk=contact.pk).update(number_issued=True)


def _get_sender(message: dict[str, Any]) -> dict[str, Any]:
    """Return ``message.from``, empty where it asks for nothing. Raises BadBody."""
    sender = message.get("from") if is_given(message.get("from")) else {}
    if not isinstance(sender, dict):
        raise BadBody(_("“message.from” must be an object."))
    return sender


def _build_message_fact(api_channel: ApiChannel, message: dict[str, Any], *, has_files: bool) -> MessageReceived:
    sender = _get_sender(message)
    text = None if message.get("text") is False else message.get("text")  # PHP's empty value
    if text is not None and (isinstance(text, bool) or not isinstance(text, str | int | float)):
        raise BadBody(_("“message.text” must be text."))
    attached = values.parse_files(message.get("files"), "message.files")
    if not values.as_text(text).strip() and not attached and not has_files:
        raise BadBody(_("“message.text” is missing."))
    return MessageReceived(
        contact=read_sender(api_channel, sender),
        text=values.as_text(text),
        external_id=read_text(message.get("id"), "message.id", longest=MAX_ID_LENGTH),
        at=values.parse_unix_time(message.get("timestamp"), "message.timestamp"),
        files=attached,
    )


class SendMessage(UapiView):
    """``chat/sendMessage``: a message from an operator. It obeys the service window exactly as the desk does."""

    parameters = define_parameters("chat_id", "user_id", "text")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        conversation = get_conversation(call)
        user = get_operator(call, conversation)
        text = call.values.get("text")
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise BadBody(_("“text” is missing."))
        handed = reply_submission.submit_reply(conversation_id=conversation.pk, text=str(text), author=user)
        if handed.message is None or handed.ticket is None:
            raise UapiError(NOT_SENT, handed.decision.sentence, reason=handed.decision.reason)
        return {
            "status": "success",
            "chat_id": conversation.pk,
            "ticket_id": handed.ticket.pk,
            "message_id": handed.message.pk,
        }


def get_operator(call: UapiCall, conversation: Conversation) -> Any:
    user_id = values.parse_id(call.values.get("user_id"), "user_id")
    if user_id is None:
        raise BadBody(_("“user_id” is missing."))
    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    if user is None or not Conversation.objects.filter(pk=conversation.pk).visible_to(user).exists():
        raise UapiError(NOT_FOUND, _("There is no operator %(id)s for this chat.") % {"id": user_id})
    return user


class ChangeAssignee(UapiView):
    """``chat/changeAssignee``: make an operator responsible for a chat."""

    parameters = define_parameters("chat_id", "user_id")

    def answer(self, call: UapiCall) -> dict[str, Any]:
        conversation = get_conversation(call)
        user = get_operator(call, conversation)
        tickets.assign_chat(conversation.pk, user_id=user.pk, by=user.pk)
        # Strings, as the helpdesk answers.
        return {
            "chat_id": str(conversation.pk),
            "user_id": str(user.pk),
            "url": f"{settings.PUBLIC_URL.rstrip('/')}/chats/{conversation.pk}/",
        }


class Channels(UapiView):
    """``channels``: the channels that this API channel works with."""

    methods = ("GET", "POST")
    writes = False
    parameters = define_parameters("channel_type")

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        wanted = values.as_text(call.values.get("channel_type"))
        found = [
            {"channel_id": channel.pk, "channel_name": channel.name, "channel_type": "chat"}
            for channel in call.api_channel.watched.all()
        ]
        found.append(
            {
                "channel_id": call.api_channel.app_id,
                "channel_name": call.api_channel.name,
                "channel_type": "api",
            }
        )
        return [channel for channel in found if not wanted or channel["channel_type"] == wanted]
