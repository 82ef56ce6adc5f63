"""Messages from the portal: acceptance or rejection, limits, statuses."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.simulators import rules, template_sends, templates
from tests.simulators.errors import ASYNCHRONOUS_CODES, GraphError
from tests.simulators.media import ACCEPTED_TYPES
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
        self.pairs: dict[str, float] = defaultdict(float)  # contact -> time until which its rate is used up

    def take(self, body: Any) -> Json:
        """Return the response to POST …/messages. Raises GraphError if Meta would reject the message."""
        body = rules.check_envelope(body)
        if body.get("status") == "read":
            return self._mark_read(body)
        if code := self.meta.switches.take("reject"):
            raise GraphError(code, "as set in the simulator", status=self.meta.switches.see("reject_status") or None)
        self._check_throughput()
        kind = rules.check_message(body)
        phone, asked = self._find_recipient(body)
        self._check_pair_limit(asked)
        text = self._template_text(body["template"]) if kind == "template" else rules.get_visible_text(body, kind)
        refusal = self._find_refusal(body, kind, phone)
        where = self._choose_report(refusal)
        if refusal is not None and where == "answer":
            raise refusal
        to = phone or Phone(meta=self.meta, number=asked, name="", user_id="", on_whatsapp=False)
        key = str(body.get("biz_opaque_callback_data") or "")
        sent = Sent(id=new_id(), to=to, kind=kind, text=text, body=body, key=key, at=self.meta.now())
        with self.lock:
            self.meta.sent.append(sent)
            self.meta.known[sent.id] = to
        self._report_result(sent, refusal)
        if refusal is not None and where == "both":
            raise refusal
        given = body.get("to") or body.get("recipient")
        who = {"wa_id": to.number} if "to" in body else {}
        who |= {"user_id": to.user_id} if phone else {}
        held = "held_for_quality_assessment" if self.meta.switches.take("held") else "accepted"
        message = {"id": sent.id} | ({"message_status": held} if kind == "template" else {})
        return {"messaging_product": "whatsapp", "contacts": [{"input": given} | who], "messages": [message]}

    def _mark_read(self, body: Json) -> Json:
        message_id = rules.require(body.get("message_id"), "message_id")
        if message_id not in self.meta.known:
            raise GraphError(131009, "Message id is not of a message that was received.")
        self.meta.marked_read.append(message_id)
        return {"success": True}

    # --- limits ---

    def _check_throughput(self) -> None:
        now = time.monotonic()
        with self.lock:
            while self.taken_at and self.taken_at[0] < now - 1:
                self.taken_at.popleft()
            if len(self.taken_at) >= self.meta.switches.see("per_second"):
                raise GraphError(130429, "Cloud API message throughput has been reached.")
            self.taken_at.append(now)

    def _check_pair_limit(self, contact: str) -> None:
        """Raise GraphError if the contact gets more than one message in ``pair_seconds`` after a burst."""
        see, now = self.meta.switches.see, self.meta.now()
        every, burst = see("pair_seconds"), see("pair_burst")
        with self.lock:
            until = max(self.pairs[contact], now)
            if until - now > every * (burst - 1) + 0.001:
                raise GraphError(131056, "Too many messages from this phone number to the same phone number.")
            self.pairs[contact] = until + every

    # --- recipient and permission ---

    def _find_recipient(self, body: Json) -> tuple[Phone | None, str]:
        """Return the recipient's phone, if it exists, and its ID. ``to`` takes precedence over ``recipient``."""
        if "to" not in body and "recipient" in body:
            user_id = rules.require(body["recipient"], "recipient")
            if not rules.USER_ID.fullmatch(user_id):
                raise GraphError(131009, "recipient is not a business-scoped user id")
            return next((each for each in self.meta.phones.values() if each.user_id == user_id), None), user_id
        written = rules.require(body.get("to"), "to")
        dialled = rules.get_wa_id(rules.normalize_number(written, own_country=self.meta.display_number[0]))
        if dialled == self.meta.display_number:
            raise GraphError(131021, "Recipient phone number and sender phone number are the same.")
        return self.meta.phones.get(dialled), dialled

    def _find_refusal(self, body: Json, kind: str, phone: Phone | None) -> GraphError | None:
        """Return the error that Meta finds in a well-formed message, to report at once or later."""
        if code := self.meta.switches.take("fail"):
            return GraphError(code, "as set in the simulator")
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
        return self._find_media_refusal(body[kind], kind) if kind in rules.MEDIA else None

    def _template(self, sent: Json) -> templates.Template:
        name, language = sent["name"], sent["language"]["code"]
        if template := self.meta.templates.find(name, language):
            return template
        raise GraphError(132001, f"template name ({name}) does not exist in {language}")

    def _template_text(self, sent: Json) -> str:
        return template_sends.fill(self._template(sent), sent.get("components") or [], now=self.meta.now())

    def _find_media_refusal(self, content: Json, kind: str) -> GraphError | None:
        if media_id := content.get("id"):
            medium = self.meta.media.media.get(str(media_id))
            if medium is None or medium.until < self.meta.now():
                return GraphError(131053, f"Media id {media_id} does not exist.")
            return check_media_type(medium.mime, kind)
        return check_link(content["link"], kind)

    # --- result ---

    def _choose_report(self, refusal: GraphError | None) -> str:
        """Return where to report an error: "answer" (response to the call), "status" (webhook) or "both"."""
        if refusal is None:
            return ""
        return self.meta.switches.take("tell") or ("status" if refusal.code in ASYNCHRONOUS_CODES else "answer")

    def _report_result(self, sent: Sent, refusal: GraphError | None) -> None:
        delay = float(self.meta.switches.see("delay_statuses"))
        if refusal is not None:
            self.meta.report(sent, "failed", error=refusal, after=delay)
            return
        sent.to.received.append(sent)
        words = [word for word in self.meta.switches.see("statuses").split(",") if word]
        updates = [self.meta.report(sent, word, after=delay) for word in words]
        if updates and self.meta.switches.take("statuses_first"):
            updates[0].posted.wait(5)


def check_media_type(mime: str, kind: str) -> GraphError | None:
    if ACCEPTED_TYPES.get(mime.split(";")[0], ("", 0))[0] == kind:
        return None
    return GraphError(131053, f"Unsupported {kind} mime type {mime}.")


def check_link(link: str, kind: str) -> GraphError | None:
    """Return the error of a file link. Only links on loopback are downloaded; others are trusted."""
    if not link.startswith("http://"):
        return None
    try:
        with urlopen(Request(link), timeout=30) as answer:
            return check_media_type(answer.headers.get_content_type(), kind)
    except (OSError, ValueError):
        return GraphError(131053, "Downloading media from weblink failed.")
