"""Sandbox: a phone on a web page, for demo, training and tests. It needs no account anywhere.

The page plays the outside world: it posts what the contact does to ``/webhooks/sandbox/<token>/`` and shows what was
delivered. An event is one of

    {"type": "message", "id": "…", "from": {"id": "…", "name": "…", "phone": "…"}, "text": "…", "timestamp": 1700000000}
    {"type": "status", "message_id": 123, "status": "delivered|read|failed"}
    {"type": "echo", "id": "…", "to": {"id": "…"}, "text": "…"}   a reply from the shop's own phone
    {"type": "edit", "id": "…", "of": "<the message's id>", "from": {"id": "…"}, "text": "…"}
    {"type": "revoke", "id": "…", "of": "…", "from": {"id": "…"}}
    {"type": "reaction", "id": "…", "of": "…", "from": {"id": "…"}, "emoji": "👍"}
    {"type": "clock", "from": {"id": "…"}, "hours": 25}
    {"type": "template", "name": "…", "language": "ru", "status": "paused", "reason": "…"}   (or "id": "sandbox-…")

or ``{"events": [...]}`` with several of them.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import as_text, parse_files, parse_id, parse_unix_time, require_text
from channels_setup.providers.base import (
    ACCEPTED,
    Account,
    ApiRequest,
    ContactInfo,
    DeliveryRequest,
    EchoSeen,
    Fact,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    Messenger,
    Outcome,
    RawRequest,
    ReactionChanged,
    StatusChanged,
    TemplateChanged,
    TemplatePage,
    TimePassed,
)

from .templates import PAGE_SIZE, TEMPLATES

MAX_JUMP_HOURS = 24 * 31


class Sandbox(Messenger):
    label = _("Sandbox (a phone on a web page)")
    has_training_phone = True
    starts_chats = True
    lists_templates = True
    supports_quotes = True
    sends_reactions = True
    status_example = {"type": "status", "message_id": 900001, "status": "delivered"}

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        body = request.decoded()
        items = body.get("events", [body])
        if not isinstance(items, list):
            raise BadBody(_("“events” must be a list."))
        return [self._read_fact(item) for item in items]

    def _read_fact(self, item: Any) -> Fact:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            return self._read_message(item)
        if kind == "status":
            status = as_text(item.get("status")).lower()
            if status not in self.status_map:
                raise BadBody(_("Unknown status “%(status)s”.") % {"status": status[:40]})
            return StatusChanged(
                message_id=parse_id(item.get("message_id")),
                external_id=as_text(item.get("external_id")),
                status=self.status_map[status],
                at=parse_unix_time(item.get("timestamp")),
                code=as_text(item.get("code"))[:40],
                title=as_text(item.get("title"))[:300],
            )
        if kind == "clock":
            hours = item.get("hours")
            if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= MAX_JUMP_HOURS:
                raise BadBody(_("“hours” must be a number above zero, at most a month."))
            return TimePassed(contact=self._read_contact(item), seconds=int(hours * 3600))
        if kind == "template":
            return self._read_template(item)
        if kind == "echo":
            message = self._read_message(item)
            return EchoSeen(
                contact=message.contact,
                text=message.text,
                external_id=require_text(message.external_id, "id"),
                at=message.at,
                files=message.files,
            )
        if kind in ("edit", "revoke", "reaction"):
            return self._read_correction(str(kind), item)
        raise BadBody(_("“type” must be message, echo, edit, revoke, reaction, status, clock or template."))

    def _read_correction(self, kind: str, item: dict[str, Any]) -> Fact:
        """Read an edit, a revocation or a reaction. ``to`` instead of ``from``: made on the shop's own phone."""
        common: dict[str, Any] = {
            "contact": self._read_contact(item),
            "target_id": require_text(item.get("of"), "of")[:190],
            "external_id": as_text(item.get("id"))[:190],
            "at": parse_unix_time(item.get("timestamp")),
            "by_us": "from" not in item,
        }
        if kind == "edit":
            return MessageEdited(text=require_text(item.get("text"), "text"), **common)
        if kind == "revoke":
            return MessageRevoked(**common)
        return ReactionChanged(emoji=as_text(item.get("emoji"))[:40], **common)

    def _read_contact(self, item: dict[str, Any]) -> ContactInfo:
        sender = item.get("from", item.get("to"))
        if not isinstance(sender, dict):
            raise BadBody(_("“from” must identify the contact."))
        return ContactInfo(
            external_id=require_text(sender.get("id"), "from.id")[:190],
            name=as_text(sender.get("name"))[:200],
            phone=as_text(sender.get("phone"))[:32],
        )

    def _read_message(self, item: dict[str, Any]) -> MessageReceived:
        return MessageReceived(
            contact=self._read_contact(item),
            external_id=as_text(item.get("id"))[:190],
            text=as_text(item.get("text")),
            at=parse_unix_time(item.get("timestamp")),
            files=parse_files(item.get("files"), "files"),
        )

    def _read_template(self, item: dict[str, Any]) -> TemplateChanged:
        external_id = as_text(item.get("id"))[:190]
        name, language = as_text(item.get("name"))[:512], as_text(item.get("language"))[:20]
        if not external_id and not (name and language):
            raise BadBody(_("“name” and “language” must identify the template."))
        return TemplateChanged(
            external_id=external_id,
            name=name,
            language=language,
            status=require_text(item.get("status"), "status")[:40],
            reason=as_text(item.get("reason"))[:1000],
        )

    def fetch_templates(self, account: Account, *, after: str = "") -> ApiRequest | TemplatePage:
        begin = int(after) if after.isascii() and after.isdigit() else 0
        end = begin + PAGE_SIZE
        return TemplatePage(rows=TEMPLATES[begin:end], after=str(end) if end < len(TEMPLATES) else "")

    def build_message_request(self, delivery: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        """Accept at once: the phone page reads deliveries from the portal itself, so there is no call to make."""
        return Outcome(verdict=ACCEPTED, external_id=f"sandbox-{delivery.key}")


provider = Sandbox()
