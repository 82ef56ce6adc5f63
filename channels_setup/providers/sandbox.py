"""The sandbox: a phone on a web page, for demo, training and tests. No account anywhere is needed.

The page is the outside world: it posts what the "client" types to ``/webhooks/sandbox/<token>/`` and shows what
was delivered. An event is one of

    {"type": "message", "id": "…", "from": {"id": "…", "name": "…", "phone": "…"}, "text": "…", "timestamp": 1700000000}
    {"type": "status", "message_id": 123, "status": "delivered|read|failed"}
    {"type": "clock", "from": {"id": "…"}, "hours": 25}

or ``{"events": [...]}`` with many of them.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from ..codecs.bodies import BadBody
from ..codecs.values import as_files, as_id, as_text, as_time, required_text
from .base import (
    ACCEPTED,
    Account,
    ContactInfo,
    Fact,
    HttpRequest,
    MessageReceived,
    Messenger,
    Outcome,
    Outgoing,
    RawRequest,
    StatusChanged,
    TimePassed,
)

LONGEST_JUMP_HOURS = 24 * 31


class Sandbox(Messenger):
    label = _("Sandbox (a phone on a web page)")
    has_phone_page = True
    status_example = {"type": "status", "message_id": 900001, "status": "delivered"}

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        body = request.decoded()
        items = body.get("events", [body])
        if not isinstance(items, list):
            raise BadBody(_("“events” must be a list."))
        return [self._fact(item) for item in items]

    def _fact(self, item: Any) -> Fact:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            return self._message(item)
        if kind == "status":
            word = as_text(item.get("status")).lower()
            if word not in self.status_words:
                raise BadBody(_("Unknown status “%(status)s”.") % {"status": word[:40]})
            return StatusChanged(
                message_id=as_id(item.get("message_id")),
                external_id=as_text(item.get("external_id")),
                status=self.status_words[word],
                at=as_time(item.get("timestamp")),
                code=as_text(item.get("code"))[:40],
                title=as_text(item.get("title"))[:300],
            )
        if kind == "clock":
            hours = item.get("hours")
            if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= LONGEST_JUMP_HOURS:
                raise BadBody(_("“hours” must be a number above zero, at most a month."))
            return TimePassed(contact=self._contact(item), seconds=int(hours * 3600))
        raise BadBody(_("“type” must be message, status or clock."))

    def _contact(self, item: dict[str, Any]) -> ContactInfo:
        sender = item.get("from")
        if not isinstance(sender, dict):
            raise BadBody(_("“from” must say who writes."))
        return ContactInfo(
            external_id=required_text(sender.get("id"), "from.id")[:190],
            name=as_text(sender.get("name"))[:200],
            phone=as_text(sender.get("phone"))[:32],
        )

    def _message(self, item: dict[str, Any]) -> MessageReceived:
        return MessageReceived(
            contact=self._contact(item),
            external_id=as_text(item.get("id"))[:190],
            text=as_text(item.get("text")),
            at=as_time(item.get("timestamp")),
            files=as_files(item.get("files"), "files"),
        )

    def message(self, outgoing: Outgoing, account: Account) -> HttpRequest | Outcome:
        """The phone page reads what was delivered from the portal itself, so there is no call to make."""
        return Outcome(verdict=ACCEPTED, external_id=f"sandbox-{outgoing.key}")


provider = Sandbox()
