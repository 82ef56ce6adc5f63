"""A message from the portal: taken or refused, and what becomes of it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.simulators import rules, template_sends, templates
from tests.simulators.errors import TOLD_LATER, GraphError
from tests.simulators.media import TAKEN
from tests.simulators.phones import Phone, Sent, new_id

if TYPE_CHECKING:
    from tests.simulators.meta import MetaSimulator

WINDOW_SECONDS = 86_400
Json = dict[str, Any]


class Intake:
    def __init__(self, meta: MetaSimulator) -> None:
        self.meta = meta
        self.lock = threading.Lock()
        self.taken_at: deque[float] = deque()
        self.pairs: dict[str, float] = defaultdict(float)  # contact -> when the borrowed future is paid back

    def take(self, body: Any) -> Json:
        """The answer to POST …/messages; GraphError where Meta refuses."""
        body = rules.envelope(body)
        if body.get("status") == "read":
            return self._mark_read(body)
        if code := self.meta.switches.take("reject"):
            raise GraphError(code, "as the simulator was told", status=self.meta.switches.see("reject_status") or None)
        self._throughput()
        kind = rules.message(body)
        phone, asked = self._recipient(body)
        self._pair(asked)
        text = self._template_text(body["template"]) if kind == "template" else rules.words(body, kind)
        refusal = self._refusal(body, kind, phone)
        where = self._where_told(refusal)
        if refusal is not None and where == "answer":
            raise refusal
        to = phone or Phone(meta=self.meta, number=asked, name="", user_id="", on_whatsapp=False)
        key = str(body.get("biz_opaque_callback_data") or "")
        sent = Sent(id=new_id(), to=to, kind=kind, text=text, body=body, key=key, at=self.meta.now())
        with self.lock:
            self.meta.sent.append(sent)
            self.meta.known[sent.id] = to
        self._fate(sent, refusal)
        if refusal is not None and where == "both":
            raise refusal
        given = body.get("to") or body.get("recipient")
        who = {"wa_id": to.number} if "to" in body else {}
        who |= {"user_id": to.user_id} if phone else {}
        held = "held_for_quality_assessment" if self.meta.switches.take("held") else "accepted"
        message = {"id": sent.id} | ({"message_status": held} if kind == "template" else {})
        return {"messaging_product": "whatsapp", "contacts": [{"input": given} | who], "messages": [message]}

    def _mark_read(self, body: Json) -> Json:
        message_id = rules.need(body.get("message_id"), "message_id")
        if message_id not in self.meta.known:
            raise GraphError(131009, "Message id is not of a message that was received.")
        self.meta.marked_read.append(message_id)
        return {"success": True}

    # --- limits ---

    def _throughput(self) -> None:
        now = time.monotonic()
        with self.lock:
            while self.taken_at and self.taken_at[0] < now - 1:
                self.taken_at.popleft()
            if len(self.taken_at) >= self.meta.switches.see("per_second"):
                raise GraphError(130429, "Cloud API message throughput has been reached.")
            self.taken_at.append(now)

    def _pair(self, contact: str) -> None:
        """One in ``pair_seconds``, with a burst that is borrowed from the future."""
        see, now = self.meta.switches.see, self.meta.now()
        every, burst = see("pair_seconds"), see("pair_burst")
        with self.lock:
            until = max(self.pairs[contact], now)
            if until - now > every * (burst - 1) + 0.001:
                raise GraphError(131056, "Too many messages from this phone number to the same phone number.")
            self.pairs[contact] = until + every

    # --- to whom, and may it ---

    def _recipient(self, body: Json) -> tuple[Phone | None, str]:
        """The phone, if there is one, and what to know it by. With both given, ``to`` wins."""
        if "to" not in body and "recipient" in body:
            user_id = rules.need(body["recipient"], "recipient")
            if not rules.USER_ID.fullmatch(user_id):
                raise GraphError(131009, "recipient is not a business-scoped user id")
            return next((each for each in self.meta.phones.values() if each.user_id == user_id), None), user_id
        written = rules.need(body.get("to"), "to")
        dialled = rules.wa_id_of(rules.number_dialled(written, own_country=self.meta.display_number[0]))
        if dialled == self.meta.display_number:
            raise GraphError(131021, "Recipient phone number and sender phone number are the same.")
        return self.meta.phones.get(dialled), dialled

    def _refusal(self, body: Json, kind: str, phone: Phone | None) -> GraphError | None:
        """What Meta finds once the message is well-formed, and tells now or later."""
        if code := self.meta.switches.take("fail"):
            return GraphError(code, "as the simulator was told")
        if phone is None or not phone.on_whatsapp:
            return GraphError(131026, "Message Undeliverable.")
        if kind == "template":
            template = self._template(body["template"])
            if phone.blocked_marketing and template.category == "MARKETING":
                return GraphError(131050, "This recipient has chosen to stop receiving marketing messages.")
            return None
        if self.meta.now() - (phone.wrote_at or 0.0) >= WINDOW_SECONDS:
            words = "Message failed to send because more than 24 hours have passed since the customer last replied"
            return GraphError(131047, f"{words} to this number.")
        return self._media_refusal(body[kind], kind) if kind in rules.MEDIA else None

    def _template(self, sent: Json) -> templates.Template:
        name, language = sent["name"], sent["language"]["code"]
        if template := self.meta.templates.find(name, language):
            return template
        raise GraphError(132001, f"template name ({name}) does not exist in {language}")

    def _template_text(self, sent: Json) -> str:
        return template_sends.fill(self._template(sent), sent.get("components") or [], now=self.meta.now())

    def _media_refusal(self, content: Json, kind: str) -> GraphError | None:
        if media_id := content.get("id"):
            medium = self.meta.media.media.get(str(media_id))
            if medium is None or medium.until < self.meta.now():
                return GraphError(131053, f"Media id {media_id} does not exist.")
            return wrong_kind(medium.mime, kind)
        return fetched(content["link"], kind)

    # --- what becomes of it ---

    def _where_told(self, refusal: GraphError | None) -> str:
        """A refusal is the call's answer, a failed status, or both."""
        if refusal is None:
            return ""
        return self.meta.switches.take("tell") or ("status" if refusal.code in TOLD_LATER else "answer")

    def _fate(self, sent: Sent, refusal: GraphError | None) -> None:
        delay = float(self.meta.switches.see("delay_statuses"))
        if refusal is not None:
            self.meta.report(sent, "failed", error=refusal, after=delay)
            return
        sent.to.received.append(sent)
        words = [word for word in self.meta.switches.see("statuses").split(",") if word]
        updates = [self.meta.report(sent, word, after=delay) for word in words]
        if updates and self.meta.switches.take("statuses_first"):
            updates[0].told.wait(5)


def wrong_kind(mime: str, kind: str) -> GraphError | None:
    if TAKEN.get(mime.split(";")[0], ("", 0))[0] == kind:
        return None
    return GraphError(131053, f"Unsupported {kind} mime type {mime}.")


def fetched(link: str, kind: str) -> GraphError | None:
    """Meta fetches links; the simulator those on loopback only, and takes the others on trust."""
    if not link.startswith("http://"):
        return None
    try:
        with urlopen(Request(link), timeout=30) as answer:
            return wrong_kind(answer.headers.get_content_type(), kind)
    except (OSError, ValueError):
        return GraphError(131053, "Downloading media from weblink failed.")
