"""Usedesk as the helpdesk: its public API outwards, its API channel's events inwards.

Outwards: ``create/client``, ``chat/addMessage`` and private ``create/comment``; errors come as HTTP 200 with ``error``
or ``status: false``. Inwards: chat, ticket, comment and change events at our webhook, in whichever encoding the API
channel is set to. Events carry the app ID in newer versions and the secret key in older ones as ``secret``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from urllib3.filepost import encode_multipart_formdata

from ..codecs.bodies import BadBody, json_object
from ..codecs.html_text import html_of, text_of
from ..codecs.values import LARGEST_ID, as_text
from . import base_helpdesk as contract
from .base import (
    ACCEPTED,
    CHOICE,
    DECIMAL,
    NUMBER,
    PAUSE,
    PERMANENT,
    RETRY,
    SECRET,
    SWITCH,
    URL,
    HttpAnswer,
    HttpRequest,
    Json,
    Outcome,
    Rate,
    RawRequest,
    Refused,
    Setting,
    retry_after_seconds,
)
from .base_helpdesk import (
    Answered,
    Box,
    Came,
    Commented,
    DeskAccount,
    DeskFact,
    Helpdesk,
    Known,
    Noticed,
    Said,
    Telling,
    TicketMoved,
    TicketSeen,
)

CALLS_PER_SECOND = 5.0
SKEW_NOTICED, SKEW_WRONG = 30, 300  # seconds between their clock and ours

STATES = ("new", "reopened", "closed")
TRACKS = {"new": "new_chat", "reopened": "resumed"}


class Usedesk(Helpdesk):
    label = "Usedesk"

    settings = (
        Setting(
            name="base_url",
            label=_("API address"),
            kind=URL,
            required=True,
            default="https://secure.usedesk.com/uapi/",
            help=_("With its path. Others in use: https://secure.usedesk.ru/uapi/, https://api.usedesk.ru/, your own."),
        ),
        Setting(
            name="channel_id",
            label=_("Chat channel's id in Usedesk"),
            kind=NUMBER,
            required=True,
            help=_("From the settings of the chat channel there."),
        ),
        Setting(
            name="secret_key",
            label=_("Secret key of the API channel"),
            kind=SECRET,
            required=True,
            help=_("Shown in Usedesk after the API channel has been saved."),
        ),
        Setting(
            name="app_id",
            label=_("app ID of the API channel"),
            required=True,
            help=_("Shown beside the secret key; Usedesk signs its events with it."),
        ),
        Setting(
            name="calls_per_second",
            label=_("Calls a second"),
            kind=DECIMAL,
            default=CALLS_PER_SECOND,
            help=_("Usedesk documents no limit; five are safe."),
        ),
        Setting(
            name="language",
            label=_("Language of notes to operators"),
            kind=CHOICE,
            default="ru",
            choices=(("ru", "Русский"), ("en", "English")),
        ),
        Setting(
            name="files",
            label=_("Clients' files"),
            kind=CHOICE,
            default="link",
            choices=(("link", _("by link in the message")), ("comment", _("as a comment once the request is known"))),
        ),
        Setting(
            name="links_for_files",
            label=_("Send the client links to operators' files"),
            kind=SWITCH,
            default=False,
            help=_("WhatsApp gets no files from Usedesk. Off: the operator is told so. On: the link goes out as text."),
        ),
        Setting(
            name="relay_rules",
            label=_("Relay messages of rules and bots"),
            kind=SWITCH,
            default=False,
            help=_("Usedesk's own automatic answers. They need the box “Ticket change”."),
        ),
    )

    boxes = (
        Box(track="message", label=_("All chat messages"), why=_("operators' answers come by it")),
        Box(track="new_chat", label=_("New chat"), why=_("shows that a first message arrived")),
        Box(track="resumed", label=_("Chat resumed"), why=_("shows that a chat was opened again")),
        Box(track="change", label=_("Ticket change"), why=_("status and assignee follow it here")),
        Box(track="comment", label=_("New comment"), why=_("answers written in Tickets; tells equal answers apart")),
        Box(track="new_ticket", label=_("New ticket"), why=_("not needed"), wanted=False),
        Box(track="rating", label=_("Rating"), why=_("not needed"), wanted=False),
    )

    # --- out ---

    def tell(self, telling: Telling, account: DeskAccount) -> HttpRequest | Outcome:
        if telling.what == contract.CLIENT:
            return _call(account, "create/client", _client(telling))
        if telling.what == contract.NOTE:
            if telling.known.ticket_id is None:
                return Outcome(verdict=RETRY, reason="request_unknown")
            note = {"ticket_id": telling.known.ticket_id, "type": "private", "message": _marked(telling)}
            return _call(account, "create/comment", note)
        if telling.uploads and telling.known.ticket_id is not None:
            return _comment_with_files(account, telling)
        return _call(account, "chat/addMessage", _message(telling, account))

    def read(self, telling: Telling, answer: HttpAnswer) -> Answered:
        failure, body = _judged(answer)
        if failure is not None:
            return Answered(outcome=failure)
        known = Known(
            chat_id=_number(body.get("chat_id")),
            client_id=_number(body.get("client_id")),
            ticket_id=_number(body.get("ticket_id")),
        )
        is_comment = telling.what == contract.NOTE or bool(telling.uploads and telling.known.ticket_id)
        if is_comment:
            known = Known()
        needed = {contract.CLIENT: known.client_id, contract.MESSAGE: known.chat_id}.get(telling.what)
        if not is_comment and needed is None:
            return Answered(outcome=Outcome(verdict=RETRY, reason="helpdesk_refused"))
        return Answered(outcome=Outcome(verdict=ACCEPTED), known=known)

    def look(self, telling: Telling, account: DeskAccount) -> HttpRequest | None:
        """Both a client's message and a note stand among the comments of their request."""
        if telling.known.ticket_id is None or telling.what == contract.CLIENT:
            return None
        return _call(account, "ticket", {"ticket_id": telling.known.ticket_id})

    def saw(self, telling: Telling, answer: HttpAnswer) -> bool | None:
        """A note carries its own mark. A message has none, so only a text that stands there last and alone is it."""
        failure, body = _judged(answer)
        comments = body.get("comments")
        if failure is not None or not isinstance(comments, list):
            return None
        shown = [item for item in comments if isinstance(item, dict)]
        if telling.what == contract.NOTE:
            return any(_mark(telling) in as_text(item.get("message")) for item in shown)
        from_client = [item for item in shown if item.get("from") == "client"]
        last = max(from_client, key=lambda item: _number(item.get("id")) or 0, default=None)
        return last is not None and text_of(as_text(last.get("message"))) == text_of(_with_links(telling))

    def rate(self, account: DeskAccount) -> Rate:
        per_second = account.options.get("calls_per_second") or CALLS_PER_SECOND
        return Rate(key="", every=1 / float(per_second))

    # --- in ---

    def authenticate(self, request: RawRequest, account: DeskAccount) -> None:
        """What could be acted upon needs the secret; a ping, a native status or anything unknown is harmless."""
        try:
            body = request.decoded()
        except BadBody:
            return
        if not _is_event(body):
            return
        given = as_text(body.get("secret")).encode()
        accepted = [as_text(account.options.get("app_id")).encode(), account.secret.encode()]
        if not any(one and hmac.compare_digest(given, one) for one in accepted):
            raise Refused

    def parse(self, request: RawRequest, account: DeskAccount) -> list[DeskFact]:
        if request.body.strip().strip(b'"').lower() == b"ping":
            return [Came(track="ping")]
        body = request.decoded()
        if not _is_event(body):
            return [Came(track=_harmless(body))]
        if isinstance(body.get("comment"), dict):
            return list(_comment_facts(body["comment"], body))
        if isinstance(body.get("trigger"), dict):
            return list(_change_facts(body["trigger"], body))
        if "chat_id" in body and "from" in body:
            return list(_chat_facts(body, account))
        if isinstance(body.get("ticket"), dict):
            return [Came(track="new_ticket"), TicketMoved(ticket=_ticket(body["ticket"]))]
        return [Came(track="rating" if "csi" in body else "unknown")]

    # --- looking ---

    def probe(self, account: DeskAccount) -> HttpRequest:
        query = urlencode({"api_token": account.secret})
        return HttpRequest(method="GET", url=f"{_address(account, 'channels')}?{query}", headers={}, body=b"")

    def read_probe(self, answer: HttpAnswer, account: DeskAccount) -> list[Noticed]:
        found = [_skew(answer)]
        if answer.status in (301, 302, 303, 307, 308, 404, 405):
            sentence = _("The API address answers %(status)d: it is not the address of Usedesk's API.")
            return [*found, Noticed(level="error", sentence=str(sentence) % {"status": answer.status})]
        try:
            listed = json.loads(answer.body)
        except (ValueError, RecursionError):
            sentence = _("What answers at the API address is not Usedesk's API (HTTP %(status)d).")
            return [*found, Noticed(level="error", sentence=str(sentence) % {"status": answer.status})]
        if isinstance(listed, dict):
            listed = listed.get("channels", listed)
        if not isinstance(listed, list):
            return [*found, _not_listed(answer)]
        found.append(Noticed(level="ok", sentence=_("The secret key is accepted.")))
        return [*found, _own_channel([item for item in listed if isinstance(item, dict)], account)]


# --- calls -----------------------------------------------------------------------------------------------


def _address(account: DeskAccount, method: str) -> str:
    return f"{as_text(account.options.get('base_url')).rstrip('/')}/{method}"


def _call(account: DeskAccount, method: str, values: Mapping[str, Any]) -> HttpRequest:
    body = {"api_token": account.secret, **{name: value for name, value in values.items() if value not in ("", None)}}
    return HttpRequest(
        method="POST",
        url=_address(account, method),
        headers={"content-type": "application/json", "accept": "application/json"},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )


def _client(telling: Telling) -> Json:
    """The card operators see. Phones are 10 to 15 digits there, or not given."""
    contact = telling.contact
    digits = "".join(character for character in contact.phone if character.isascii() and character.isdigit())
    identity = contact.external_id or digits
    return {
        "name": contact.name or (f"+{digits}" if digits else identity),
        "phone": digits if 10 <= len(digits) <= 15 else "",
        "emails": [contact.email] if contact.email else "",
        "messengers": [{"type": "whatsapp", "identity": identity}] if identity else "",
    }


def _message(telling: Telling, account: DeskAccount) -> Json:
    known = telling.known
    sender = {
        "client_id": known.client_id,
        "name": telling.contact.name,
        "email": telling.contact.email,
        "phone": telling.contact.phone,
    }
    message = {
        "text": _with_links(telling),
        "from": {name: value for name, value in sender.items() if value},
        "id": telling.key,  # an extension that another portal knows, and Usedesk passes over
        "timestamp": int(telling.at.timestamp()) if telling.at else None,
    }
    return {
        "company_id": account.company_id,
        "channel_id": account.options.get("channel_id"),
        "chat_id": known.chat_id,
        "message": {name: value for name, value in message.items() if value is not None},
    }


def _with_links(telling: Telling) -> str:
    lines = [telling.text] if telling.text else []
    lines += [f"{file.name}: {file.url}" if file.name else file.url for file in telling.files if file.url]
    return "\n".join(lines) or "…"


def _comment_with_files(account: DeskAccount, telling: Telling) -> HttpRequest:
    fields: list[tuple[str, Any]] = [
        ("api_token", account.secret),
        ("ticket_id", str(telling.known.ticket_id)),
        ("type", "public"),
        ("from", "client"),
        ("message", html_of(telling.text) if telling.text else "…"),
    ]
    fields += [
        ("files[]", (each.name or "file", each.content, each.mime or "application/octet-stream"))
        for each in telling.uploads
    ]
    # The boundary is the key: the same delivery makes the same bytes.
    body, content_type = encode_multipart_formdata(fields, boundary=f"okno{telling.key}")
    return HttpRequest(
        method="POST", url=_address(account, "create/comment"), headers={"content-type": content_type}, body=body
    )


def _mark(telling: Telling) -> str:
    return f"Okno {telling.key[-8:]}"


def _marked(telling: Telling) -> str:
    return f"{html_of(telling.text)}<p><small>{_mark(telling)}</small></p>"


# --- answers ---------------------------------------------------------------------------------------------


def _judged(answer: HttpAnswer) -> tuple[Outcome | None, Json]:
    """(what went wrong or None, the body). Nothing but a JSON object without an error is a success."""
    status = answer.status
    if status in (401, 403):
        return Outcome(verdict=PAUSE, reason="helpdesk_not_let_in"), {}
    if status in (404, 405, 410) or 300 <= status < 400:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_address"), {}
    if status == 413:
        return Outcome(verdict=PERMANENT, reason="helpdesk_refused"), {}
    if not 200 <= status < 300:
        reason = "rate_limited" if status == 429 else "helpdesk_unreachable"
        return Outcome(verdict=RETRY, reason=reason, retry_after=retry_after_seconds(answer)), {}
    try:
        body = json_object(answer.body)
    except BadBody:
        return Outcome(verdict=RETRY, reason="helpdesk_unreachable"), {}
    if (error := body.get("error")) not in (None, "", False, []):
        return _error(error, body.get("code"), answer), body
    if body.get("status") is False:
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel"), body
    return None, body


def _error(error: Any, code: Any, answer: HttpAnswer) -> Outcome:
    """Their sentences are not documented: what they are about decides, and what is unclear is tried again."""
    words = (error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)).lower()
    number = _number(code)
    if number in (401, 403) or any(word in words for word in ("token", "токен", "unauthor", "access denied")):
        return Outcome(verdict=PAUSE, reason="helpdesk_not_let_in")
    if number == 429 or "too many" in words or "rate limit" in words:
        return Outcome(verdict=RETRY, reason="rate_limited", retry_after=retry_after_seconds(answer))
    if "channel" in words and any(word in words for word in ("not found", "not a chat", "does not exist", "invalid")):
        return Outcome(verdict=PAUSE, reason="helpdesk_wrong_channel")
    if number is not None and number >= 500:
        return Outcome(verdict=RETRY, reason="helpdesk_unreachable")
    return Outcome(verdict=RETRY, reason="helpdesk_refused")


def _number(value: Any) -> int | None:
    """An id of theirs: a number or a numeric string, never zero."""
    text = as_text(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if 0 < number <= LARGEST_ID else None


# --- events ----------------------------------------------------------------------------------------------


def _is_event(body: Json) -> bool:
    """Could we act upon it? Then it must prove where it comes from."""
    return (
        any(name in body for name in ("chat_id", "ticket", "comment", "trigger", "csi"))
        and "message_status" not in body
    )


def _harmless(body: Json) -> str:
    if "message_status" in body:
        return "native_status"
    words = {as_text(value).lower() for value in body.values()} | {name.lower() for name in body}
    return "ping" if "ping" in words else "unknown"


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _ticket(given: Any) -> TicketSeen:
    ticket = _object(given)
    assignee = as_text(ticket.get("assignee_id"))
    return TicketSeen(
        id=_number(ticket.get("id")),
        status=_number(ticket.get("status_id")),
        assignee="" if assignee == "0" else assignee[:40],
        tells_assignee="assignee_id" in ticket,
        updated=as_text(ticket.get("last_updated_at"))[:40],
    )


def _links(files: Any) -> tuple[str, ...]:
    """Files as strings or as objects, whatever names them."""
    found = []
    for item in files if isinstance(files, list) else []:
        fields = (
            [item]
            if isinstance(item, str)
            else [item.get(name) for name in ("url", "file", "link")]
            if isinstance(item, dict)
            else []
        )
        link = next((text for text in map(as_text, fields) if text.lower().startswith(("https://", "http://"))), "")
        found += [link[:2000]] if link else []
    return tuple(found[:30])


def _chat_facts(body: Json, account: DeskAccount) -> Iterator[DeskFact]:
    state = as_text(body.get("state")).lower()
    yield Came(track=TRACKS.get(state, "message"))
    ticket = _object(body.get("ticket"))
    channel = _number(ticket.get("channel_id"))
    if channel is not None and channel != _number(account.options.get("channel_id")):
        return
    sender = as_text(body.get("from"))
    if sender not in ("user", "client"):
        return
    text = as_text(body.get("text"))
    links = _links(body.get("files")) or (() if text.strip() else _links(ticket.get("files")))
    message_id = as_text(body.get("message_id"))
    client = _object(body.get("client"))
    yield Said(
        by_operator=sender == "user",
        text=text,
        chat_id=_number(body.get("chat_id")),
        client_id=_number(body.get("client_id")) or _number(client.get("id")),
        files=links,
        state=state if state in STATES else "",
        ticket=_ticket(ticket),
        event_id=message_id[:60],
    )


def _comment_facts(comment: Json, body: Json) -> Iterator[DeskFact]:
    yield Came(track="comment")
    ticket = _object(body.get("ticket"))
    ticket_id, comment_id = _number(comment.get("ticket_id")) or _number(ticket.get("id")), _number(comment.get("id"))
    is_answer = comment.get("from") in ("user", "trigger") and comment.get("type", "public") == "public"
    if is_answer and ticket_id is not None and comment_id is not None:
        yield Commented(
            comment_id=str(comment_id),
            ticket_id=ticket_id,
            text=text_of(as_text(comment.get("message"))),
            files=_links(comment.get("files")),
            by_rule=comment.get("from") == "trigger",
        )
    if ticket:
        yield TicketMoved(ticket=_ticket(ticket))


def _change_facts(trigger: Json, body: Json) -> Iterator[DeskFact]:
    yield Came(track="change")
    ticket = _object(body.get("ticket"))
    ticket_id = _number(trigger.get("ticket_id")) or _number(ticket.get("id"))
    if ticket_id is None:
        return
    data = trigger.get("data")
    changes = [item for item in (data if isinstance(data, list) else [data]) if isinstance(item, dict)]
    targets = {as_text(item.get("target")): item.get("value") for item in changes}
    status = _number(targets.get("status_id")) or _number(trigger.get("new_status"))
    assignee = as_text(targets.get("assignee_id"))
    if status is not None or "assignee_id" in targets:
        yield TicketMoved(
            ticket=TicketSeen(
                id=ticket_id,
                status=status,
                assignee="" if assignee == "0" else assignee[:40],
                tells_assignee="assignee_id" in targets,
            )
        )
    for place, item in enumerate(changes):
        if item.get("target") == "message_from_bot" and (text := text_of(as_text(item.get("value")))):
            number = as_text(trigger.get("id"))[:30]
            yield Commented(comment_id=f"rule-{number}-{place}", ticket_id=ticket_id, text=text, by_rule=True)


# --- the dry-run -----------------------------------------------------------------------------------------


def _skew(answer: HttpAnswer) -> Noticed:
    try:
        theirs: datetime | None = parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        theirs = None
    if theirs is None:
        return Noticed(
            level="warning", sentence=_("Usedesk's server does not tell its time: clocks cannot be compared.")
        )
    apart = abs((timezone.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds())
    if apart < SKEW_NOTICED:
        return Noticed(level="ok", sentence=_("The clocks agree."))
    level = "error" if apart >= SKEW_WRONG else "warning"
    sentence = _("The clocks differ by %(seconds)d s: one of the two servers has the wrong time.")
    return Noticed(level=level, sentence=str(sentence) % {"seconds": round(apart)}, stops=False)


def _not_listed(answer: HttpAnswer) -> Noticed:
    failure, _body = _judged(answer)
    if failure is not None and failure.reason == "helpdesk_not_let_in":
        return Noticed(level="error", sentence=_("Usedesk does not accept the secret key."))
    sentence = _("Usedesk did not list its channels (HTTP %(status)d).")
    return Noticed(level="error", sentence=str(sentence) % {"status": answer.status})


def _own_channel(listed: list[Json], account: DeskAccount) -> Noticed:
    wanted = _number(account.options.get("channel_id"))
    own = next((item for item in listed if _number(item.get("channel_id")) == wanted), None)
    values = {"id": wanted, "kind": as_text((own or {}).get("channel_type"))}
    if own is None:
        chats = [as_text(item.get("channel_id")) for item in listed if item.get("channel_type") == "chat"]
        sentence = _("There is no channel %(id)s in Usedesk. Chat channels there: %(chats)s.")
        return Noticed(level="error", sentence=str(sentence) % (values | {"chats": ", ".join(chats[:10]) or "—"}))
    if values["kind"] != "chat":
        sentence = _("Channel %(id)s is not a chat channel: its type is “%(kind)s”.")
        return Noticed(level="error", sentence=str(sentence) % values)
    return Noticed(level="ok", sentence=str(_("Chat channel %(id)s exists.")) % values)


provider = Usedesk()
