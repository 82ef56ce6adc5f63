"""Acebot: the API channel of the set-up guide.

No public description of Acebot's API exists, so the contract is the one the guide hands over: clients' messages
come by ``POST /uapi/chat/addMessage`` with the channel's secret key; operators' messages go to the Redirect URL
as chat events; delivery statuses come back at ``POST /webhooks/acebot/<token>/`` in the shape below, which we
define and print on the hand-over page:

    {"message_id": 123, "status": "sent|delivered|read|failed", "timestamp": 1700000000,
     "error": {"code": 131026, "title": "…"}}

Several come as ``{"statuses": [...]}``.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from ..codecs.bodies import BadBody
from ..codecs.values import as_id, as_text, as_time
from .base import (
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
    needs_redirect_url = True
    delivers_copies = True  # messages and copies come to one address, in one shape
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
        return [self._status(item) for item in items]

    def _status(self, item: Any) -> StatusChanged:
        if not isinstance(item, dict) or "status" not in item:
            raise BadBody(_("A status needs “message_id” and “status”."))
        word = as_text(item["status"]).lower()
        if word not in self.status_map:
            raise BadBody(
                _("Unknown status “%(status)s”: use sent, delivered, read or failed.") % {"status": word[:40]}
            )
        message_id = as_id(item.get("message_id"))
        external_id = as_text(item.get("external_id"))
        if message_id is None and not external_id:
            raise BadBody(_("A status needs the “message_id” that came with the message."))
        error = item.get("error")
        error = error if isinstance(error, dict) else {}
        return StatusChanged(
            message_id=message_id,
            external_id=external_id,
            status=self.status_map[word],
            at=as_time(item.get("timestamp")),
            code=as_text(error.get("code"))[:40],
            title=as_text(error.get("title"))[:300],
        )

    def build_message_request(self, outgoing: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        return signed_event_request(outgoing, account)


provider = Acebot()
