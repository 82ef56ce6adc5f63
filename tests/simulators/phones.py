"""A client's phone: writes, presses, reacts, reads; and what it was shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulators.media import FROM_WEBHOOK_SECONDS
from tests.simulators.posting import Update

if TYPE_CHECKING:
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


@dataclass(kw_only=True)
class Sent:
    """A message that the portal sent and Meta took. ``text``: as the contact reads it."""

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
    """``hides_number``: a user name is set, and webhooks carry the user id alone."""

    meta: MetaSimulator = field(repr=False)
    number: str  # digits: the identity by phone
    name: str
    user_id: str
    username: str = ""
    hides_number: bool = False
    on_whatsapp: bool = True
    blocked_marketing: bool = False
    wrote_at: float | None = None  # by the simulator's clock
    received: list[Sent] = field(default_factory=list)
    wrote: list[str] = field(default_factory=list)

    # --- what it writes; each answers with the message's id ---

    def writes(self, text: str, **more: Any) -> str:
        """``reply_to=`` a message's id; ``forwarded=True``; ``referral={…}`` and whatever else a message may hold."""
        return self.sends("text", {"body": text}, **more)

    def sends(self, kind: str, content: Any = None, *, reply_to: str = "", forwarded: bool = False, **more: Any) -> str:
        """Any type. ``at=`` another time stamp, ``id=`` another id than the next."""
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
        """``caption=``, ``filename=``, ``voice=``, ``animated=`` go with the file; the rest with the message."""
        medium = self.meta.media.keep(data, mime=mime, now=self.meta.now(), lives=FROM_WEBHOOK_SECONDS)
        told = {name: more.pop(name) for name in ("caption", "filename", "voice", "animated") if name in more}
        return self.sends(kind, medium.in_webhook() | told, **more)

    def sends_image(self, data: bytes, *, mime: str = "image/jpeg", **more: Any) -> str:
        return self.sends_file("image", data, mime, **more)

    def sends_location(self, latitude: float, longitude: float, **more: Any) -> str:
        return self.sends("location", {"latitude": latitude, "longitude": longitude, **more})

    def sends_card(self, name: str, *phones: str) -> str:
        cards = [{"phone": phone, "type": "CELL"} for phone in phones]
        return self.sends("contacts", [{"name": {"formatted_name": name, "first_name": name}, "phones": cards}])

    def presses(self, title: str, *, of: str, payload: str = "") -> str:
        """A template's quick reply."""
        return self.sends("button", {"text": title, "payload": payload or title}, reply_to=of)

    def chooses(self, title: str, *, of: str, id: str = "1", kind: str = "button_reply") -> str:
        """A reply button or, with ``kind="list_reply"``, a list's row."""
        return self.sends("interactive", {"type": kind, kind: {"id": id, "title": title}}, reply_to=of)

    def reacts(self, emoji: str, *, to: str) -> str:
        """An empty emoji takes it back."""
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
        """A system message tells it; the user id is made anew."""
        before, self.user_id = self.number, new_user_id(self.user_id[:2])
        told = {"body": f"User {self.name} changed from {before} to {number}", "type": "user_changed_number"}
        message: Json = {"from": before, "id": new_id(), "timestamp": str(int(self.meta.now())), "type": "system"}
        message["system"] = told | {"wa_id": number, "user_id": self.user_id}
        del self.meta.phones[before]
        self.number = number
        self.meta.phones[number] = self
        self.meta.tell(Update(field="messages", part="messages", item=message))

    # --- what becomes of what it was sent ---

    def reads(self, message_id: str = "") -> None:
        """One message, or all that it was sent."""
        for sent in self.received:
            if message_id in ("", sent.id) and "read" not in sent.statuses:
                self.meta.report(sent, "read")

    def plays(self, message_id: str) -> None:
        for sent in self.received:
            if sent.id == message_id:
                self.meta.report(sent, "played")

    # --- who it is ---

    def identity(self, phone: str, user: str) -> Json:
        return ({} if self.hides_number else {phone: self.number}) | {user: self.user_id}

    def card(self) -> Json:
        profile = {"name": self.name} | ({"username": self.username} if self.username else {})
        return {"profile": profile, **self.identity("wa_id", "user_id")}


def new_id() -> str:
    return "wamid.HBgM" + secrets.token_urlsafe(24).replace("-", "A").replace("_", "B") + "AA=="


def new_user_id(country: str) -> str:
    return f"{country}.{secrets.randbelow(9 * 10**19) + 10**19}"
