"""Acebot. It follows the contract on the hand-over page, because its API has no public documentation.

Contacts' messages come in by ``POST /uapi/chat/addMessage`` with the channel's secret key. Operators' messages go to
the Redirect URL as chat events. Delivery statuses come back to ``POST /webhooks/acebot/<token>/`` in our own format,
which the hand-over page prints:

    {"message_id": 123, "status": "sent|delivered|read|failed", "timestamp": 1700000000,
     "error": {"code": 131026, "title": "…"}}

Several statuses come as ``{"statuses": [...]}``.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import as_text, parse_id, parse_unix_time
from channels_setup.providers.base import (
    Account,
    ApiRequest,
    DeliveryRequest,
    Fact,
    Messenger,
    Outcome,
    RawRequest,
    StatusChanged,
    signed_event_request,
)


class Acebot(Messenger):
    label = "Acebot (WhatsApp Business)"
    no_start_reason = _("Acebot passes on answers only: the client must write first.")
    needs_redirect_url = True
    delivers_copies = True  # messages and copies have the same address and the same format
    needs_verification = True
    can_send_key = True
    status_example = {
        "message_id": 900001,
        "status": "failed",
        "timestamp": 1700000000,
        "error": {"code": 131026, "title": "Message undeliverable"},
    }

    def parse(self, request: RawRequest, account: Account) -> list[Fact]:
        body = request.decoded()
        items = body.get("statuses", [body])
        if not isinstance(items, list):
            raise BadBody(_("“statuses” must be a list."))
        return [self._read_status(item) for item in items]

    def _read_status(self, item: Any) -> StatusChanged:
        if not isinstance(item, dict) or "status" not in item:
            raise BadBody(_("A status needs “message_id” and “status”."))
        status = as_text(item["status"]).lower()
        if status not in self.status_map:
            raise BadBody(
                _("Unknown status “%(status)s”: use sent, delivered, read or failed.") % {"status": status[:40]}
            )
        message_id = parse_id(item.get("message_id"))
        external_id = as_text(item.get("external_id"))
        if message_id is None and not external_id:
            raise BadBody(_("A status needs the “message_id” that came with the message."))
        error = item.get("error")
        error = error if isinstance(error, dict) else {}
        return StatusChanged(
            message_id=message_id,
            external_id=external_id,
            status=self.status_map[status],
            at=parse_unix_time(item.get("timestamp")),
            code=as_text(error.get("code"))[:40],
            title=as_text(error.get("title"))[:300],
        )

    def build_message_request(self, delivery: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        return signed_event_request(delivery, account)


provider = Acebot()
