"""Simulator of Meta: one WhatsApp account of the Cloud API on loopback, which can misbehave on demand.

    with MetaSimulator(webhook_url=…, app_secret="s") as meta:
        anna = meta.phone("447700900101", name="Анна")
        anna.writes("Здравствуйте!")               # posts a signed webhook
        meta.quiet()                               # waits until it is answered with 200
        meta.behave(reject=131026, times=1)        # the next send is rejected
        meta.later(hours=25)                       # moves the simulator's clock; the window is closed
        anna.received[-1].text                     # the last message from the portal

The portal calls ``meta.url`` (Graph API) and downloads files from ``meta.media_url``, another host. BSPs are simulated
with ``auth_header``, ``signature_header``, paths without the number's ID, and ``own_media_host``. As a program:
``python -m tests.simulators.meta --help``.
"""

from __future__ import annotations

import ipaddress
import secrets
import sys
import threading
import time
from typing import Any, Self

from tests.simulators import templates
from tests.simulators.behavior import Behavior, Switchboard
from tests.simulators.errors import GraphError
from tests.simulators.graph import ApiCall, GraphServer
from tests.simulators.intake import Intake
from tests.simulators.media import MediaStore
from tests.simulators.phones import Phone, Sent, new_id, new_user_id
from tests.simulators.posting import Update, WebhookSender

Json = dict[str, Any]


class MetaSimulator:
    def __init__(
        self,
        *,
        webhook_url: str = "",
        access_token: str = "EAAsimulator",
        app_secret: str = "app-secret-of-the-simulator",
        verify_token: str = "verify-token-of-the-simulator",
        phone_number_id: str = "109000000000802",
        waba_id: str = "104000000000801",
        display_number: str = "15550100801",
        host: str = "127.0.0.1",
        port: int = 0,
        auth_header: str = "Authorization",
        signature_header: str = "X-Hub-Signature-256",
        seed: int | None = None,
        senders: int = 1,
        own_media_host: bool = True,
        behavior: Behavior | None = None,
    ) -> None:
        assert ipaddress.ip_address(host).is_loopback, "The simulator serves loopback only."
        self.seed = secrets.randbelow(10**6) if seed is None else seed
        print(f"simulator of Meta: seed {self.seed}", file=sys.stderr)
        self.access_token, self.verify_token, self.auth_header = access_token, verify_token, auth_header
        self.phone_number_id, self.waba_id, self.display_number = phone_number_id, waba_id, display_number
        self.switches = Switchboard(behavior or Behavior())
        self.webhook_sender = WebhookSender(self.switches, compose=self.compose, seed=self.seed, senders=senders)
        self.webhook_sender.url, self.webhook_sender.app_secret = webhook_url, app_secret
        self.webhook_sender.signature_header = signature_header
        self.templates = templates.TemplateStore()
        self.media = MediaStore()
        self.phones: dict[str, Phone] = {}
        self.known: dict[str, Phone] = {}  # message ID -> its sender or recipient
        self.sent: list[Sent] = []
        self.marked_read: list[str] = []
        self.api_calls: list[ApiCall] = []
        self.quality, self.tier, self.name = "GREEN", "TIER_2K", "Магазин сапог"
        self.ahead = 0.0
        self.lock = threading.RLock()
        self.subscribed = True
        self.intake = Intake(self)
        self.server = GraphServer(self, host=host, port=port, own_media_host=own_media_host)

    def __enter__(self) -> Self:
        self.server.start()
        self.webhook_sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.webhook_sender.stop()
        self.server.stop()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def media_url(self) -> str:
        return self.server.media_url

    # --- control ---

    def behave(self, *, times: int | None = None, **settings: Any) -> None:
        """Change settings (see ``Behavior``), permanently or for ``times`` uses."""
        self.switches.set(times=times, **settings)

    def now(self) -> float:
        return time.time() + self.ahead

    def later(self, *, hours: float = 0, seconds: float = 0) -> None:
        self.ahead += hours * 3600 + seconds

    def phone(self, number: str, *, name: str = "Анна", **more: Any) -> Phone:
        """Return the phone with this number (digits). A new one is added."""
        with self.lock:
            if number not in self.phones:
                user_id = more.pop("user_id", "") or new_user_id("GB")
                self.phones[number] = Phone(meta=self, number=number, name=name, user_id=user_id, **more)
            return self.phones[number]

    def quiet(self, *, seconds: float = 60) -> None:
        self.webhook_sender.quiet(seconds=seconds)

    def connect(self, url: str, *, verify_token: str | None = None) -> bool:
        """Set the callback URL if it returns the challenge. Return whether it does."""
        self.verify_token = self.verify_token if verify_token is None else verify_token
        verified = self.webhook_sender.handshake(url, self.verify_token)
        self.webhook_sender.url = url if verified else ""
        return verified

    def add_template(self, name: str = "order_ready", *, language: str = "ru", **more: Any) -> templates.Template:
        """Add a template with a ``body`` or complete ``components``, and optional fields such as ``status``."""
        body: Json = {"type": "BODY", "text": more.pop("body", "Здравствуйте, {{1}}! Заказ {{2}} готов к выдаче.")}
        if templates.VARIABLE.search(body["text"]):
            body["example"] = {"body_text": [["…"] * len(templates.VARIABLE.findall(body["text"]))]}
        status = more.pop("status", "APPROVED")
        row = {"name": name, "language": language, "category": "UTILITY", "components": [body]} | more
        return self.templates.add(row, status=status, now=self.now())

    def review(self, template: templates.Template, event: str, *, reason: str = "NONE", **more: Any) -> None:
        """Change a template's status as Meta's review does, and post the webhook."""
        if event not in ("FLAGGED", "REINSTATED", "UNARCHIVED"):
            template.status = event
        template.reason = reason
        value = {"event": event, "reason": reason, "message_template_category": template.category, **more}
        self.send_account_update("message_template_status_update", template_names(template) | value)

    def recategorize(self, template: templates.Template, category: str, *, soon: bool = False) -> None:
        value: Json = {"previous_category": template.category, "new_category": category}
        if soon:
            value = {"correct_category": category, "new_category": template.category}
            value["category_update_timestamp"] = int(self.now()) + 86_400
        else:
            template.category = category
        self.send_account_update("template_category_update", template_names(template) | value)

    def rewrite(self, template: templates.Template, body: str) -> None:
        """Change a template's text as Meta does on its own, and post the webhook."""
        template.component("BODY")["text"] = body
        value = template_names(template) | {"message_template_element": body}
        self.send_account_update("message_template_components_update", value)

    def grade(self, template: templates.Template, score: str) -> None:
        value = {"previous_quality_score": template.quality, "new_quality_score": score}
        template.quality = score
        self.send_account_update("message_template_quality_update", template_names(template) | value)

    def send_account_update(self, field: str, value: Json) -> None:
        """Post a webhook of any account-level field."""
        self.tell(Update(field=field, item=value, time=int(self.now())))

    def echo(self, phone: Phone, text: str) -> str:
        """Post the webhook of a reply that was written in the business's WhatsApp app. Return its ID."""
        item = {"from": self.display_number, **phone.identity("to", "to_user_id"), "id": new_id()}
        item |= {"timestamp": str(int(self.now())), "type": "text", "text": {"body": text}}
        self.tell(Update(field="smb_message_echoes", part="message_echoes", item=item))
        return str(item["id"])

    def tell(self, update: Update, *, after: float = 0.0) -> None:
        if self.subscribed:
            self.webhook_sender.post(update, after=after)

    # --- webhooks ---

    def compose(self, updates: list[Update]) -> Json:
        """Build one webhook body: one entry, a change for each field and list, and the cards of all contacts."""
        changes: dict[Any, Json] = {}
        times = [update.time for update in updates if update.time is not None]
        for number, update in enumerate(updates):
            if not update.part:
                changes[number] = {"field": update.field, "value": update.item}
                continue
            value = changes.setdefault((update.field, update.part), {"field": update.field, "value": self._value()})
            if update.card and update.card not in value["value"].setdefault("contacts", []):
                value["value"]["contacts"].append(update.card)
            value["value"].setdefault(update.part, []).append(update.item)
        entry = {"id": self.waba_id} | ({"time": times[0]} if times else {}) | {"changes": list(changes.values())}
        return {"object": "whatsapp_business_account", "entry": [entry]}

    def _value(self) -> Json:
        metadata = {"display_phone_number": self.display_number, "phone_number_id": self.phone_number_id}
        return {"messaging_product": "whatsapp", "metadata": metadata}

    def report(self, sent: Sent, status: str, *, error: GraphError | None = None, after: float = 0.0) -> Update:
        sent.statuses.append(status)
        item: Json = {"id": sent.id, "status": status, "timestamp": str(int(self.now()))}
        item |= sent.to.identity("recipient_id", "recipient_user_id")
        if sent.key:
            item["biz_opaque_callback_data"] = sent.key
        card: Json | None = sent.to.card()
        if error:
            item |= {"errors": [error.build_status_error()]}
            card = None
        elif status in ("sent", "delivered"):
            category = "service" if sent.kind != "template" else self._category(sent)
            item["pricing"] = {"billable": True, "pricing_model": "PMP", "category": category, "type": "regular"}
        update = Update(field="messages", part="statuses", item=item, card=card)
        self.tell(update, after=after)
        return update

    def _category(self, sent: Sent) -> str:
        named = sent.body["template"]
        template = self.templates.find(named["name"], named["language"]["code"])
        return template.category.lower() if template else "utility"


def template_names(template: templates.Template) -> Json:
    return {
        "message_template_id": int(template.id),
        "message_template_name": template.name,
        "message_template_language": template.language,
    }


if __name__ == "__main__":
    from tests.simulators.command import main

    sys.exit(main(sys.argv[1:]))
