"""Phone of a client: sends messages, presses buttons, reacts, reads, and keeps what it received."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulators.media import INBOUND_TTL_SECONDS
from tests.simulators.posting import Update

if TYPE_CHECKING:
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


@dataclass(kw_only=True)
class Sent:
    """A message from the portal that the simulator accepted. ``text`` is what the client reads."""

    id: str
    to: Phone
    kind: str
    text: str
    body: Json
    key: str
    at: float
    statuses: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Phone:
    """A client's phone. With ``hides_number`` (a username is set) webhooks contain only the user ID."""

    meta: MetaSimulator = field(repr=False)
    number: str  # digits
    name: str
    user_id: str
    username: str = ""
    hides_number: bool = False
    on_whatsapp: bool = True
    blocked_marketing: bool = False
    wrote_at: float | None = None  # by the simulator's clock
    received: list[Sent] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)

    # --- outbound; each method returns the message ID ---

    def writes(self, text: str, **more: Any) -> str:
        """Send a text. Options: ``reply_to`` (message ID), ``forwarded``, and message keys such as ``referral``."""
        return self.sends("text", {"body": text}, **more)

    def sends(self, kind: str, content: Any = None, *, reply_to: str = "", forwarded: bool = False, **more: Any) -> str:
        """Send a message of any type. Options: ``at`` (timestamp) and ``id``."""
        message: Json = self.identity("from", "from_user_id")
        message["id"] = more.pop("id", "") or new_id()
        at = more.pop("at", self.meta.now())
        message |= {"timestamp": str(int(at)), "type": kind}
        if reply_to:
            message["context"] = {"from": self.meta.display_number, "id": reply_to}
        elif forwarded:
            message["context"] = {"forwarded": True}
        message |= more
        if content is not None:
            message[kind] = content
        if kind not in ("edit", "revoke") and (kind != "reaction" or content.get("emoji")):
            self.wrote_at = max(self.wrote_at or 0.0, min(at, self.meta.now()))
        self.wrote.append(message["id"])
        self.meta.known[message["id"]] = self
        self.meta.tell(Update(field="messages", part="messages", item=message, card=self.card()))
        return str(message["id"])

    def sends_file(self, kind: str, data: bytes, mime: str, **more: Any) -> str:
        """Send a file. ``caption``, ``filename``, ``voice`` and ``animated`` describe it; other options the message."""
        medium = self.meta.media.keep(data, mime=mime, now=self.meta.now(), lives=INBOUND_TTL_SECONDS)
        options = {name: more.pop(name) for name in ("caption", "filename", "voice", "animated") if name in more}
        return self.sends(kind, medium.build_webhook_file() | options, **more)

    def sends_image(self, data: bytes, *, mime: str = "image/jpeg", **more: Any) -> str:
        return self.sends_file("image", data, mime, **more)

    def sends_location(self, latitude: float, longitude: float, **more: Any) -> str:
        return self.sends("location", {"latitude": latitude, "longitude": longitude, **more})

    def sends_card(self, name: str, *phones: str) -> str:
        cards = [{"phone": phone, "type": "CELL"} for phone in phones]
        return self.sends("contacts", [{"name": {"formatted_name": name, "first_name": name}, "phones": cards}])

    def presses(self, title: str, *, of: str, payload: str = "") -> str:
        """Press a template's quick reply button."""
        return self.sends("button", {"text": title, "payload": payload or title}, reply_to=of)

    def chooses(self, title: str, *, of: str, id: str = "1", kind: str = "button_reply") -> str:
        """Choose a reply button or, with ``kind="list_reply"``, a row of a list."""
        return self.sends("interactive", {"type": kind, kind: {"id": id, "title": title}}, reply_to=of)

    def reacts(self, emoji: str, *, to: str) -> str:
        """React to a message. An empty emoji removes the reaction."""
        return self.sends("reaction", {"message_id": to, "emoji": emoji} if emoji else {"message_id": to})

    def edits(self, message_id: str, text: str) -> str:
        changed = {"original_message_id": message_id, "message": {"type": "text", "text": {"body": text}}}
        return self.sends("edit", changed)

    def revokes(self, message_id: str) -> str:
        return self.sends("revoke", {"original_message_id": message_id})

    def sends_unsupported(self, kind: str = "poll_creation") -> str:
        error = {"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}
        error |= {"error_data": {"details": "Message type is currently not supported."}}
        return self.sends("unsupported", {"type": kind}, errors=[error])

    def changes_number(self, number: str) -> None:
        """Change the number and the user ID, and send the system message about it."""
        before, self.user_id = self.number, new_user_id(self.user_id[:2])
        content = {"body": f"User {self.name} changed from {before} to {number}", "type": "user_changed_number"}
        message: Json = {"from": before, "id": new_id(), "timestamp": str(int(self.meta.now())), "type": "system"}
        message["system"] = content | {"wa_id": number, "user_id": self.user_id}
        del self.meta.phones[before]
        self.number = number
        self.meta.phones[number] = self
        self.meta.tell(Update(field="messages", part="messages", item=message))

    # --- inbound ---

    def reads(self, message_id: str = "") -> None:
        """Read one received message, or all."""
        for sent in self.received:
            if message_id in ("", sent.id) and "read" not in sent.statuses:
                self.meta.report(sent, "read")

    def plays(self, message_id: str) -> None:
        for sent in self.received:
            if sent.id == message_id:
                self.meta.report(sent, "played")

    # --- identity ---

    def identity(self, phone: str, user: str) -> Json:
        return ({} if self.hides_number else {phone: self.number}) | {user: self.user_id}

    def card(self) -> Json:
        profile = {"name": self.name} | ({"username": self.username} if self.username else {})
        return {"profile": profile, **self.identity("wa_id", "user_id")}


def new_id() -> str:
    return "wamid.HBgM" + secrets.token_urlsafe(24).replace("-", "A").replace("_", "B") + "AA=="


def new_user_id(country: str) -> str:
    return f"{country}.{secrets.randbelow(9 * 10**19) + 10**19}"
