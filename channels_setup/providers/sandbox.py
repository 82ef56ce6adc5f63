"""The sandbox: a phone on a web page, for demo, training and tests. No account anywhere is needed.

The page is the outside world: it posts what the "client" types to ``/webhooks/sandbox/<token>/`` and shows what
was delivered. An event is one of

    {"type": "message", "id": "…", "from": {"id": "…", "name": "…", "phone": "…"}, "text": "…", "timestamp": 1700000000}
    {"type": "status", "message_id": 123, "status": "delivered|read|failed"}
    {"type": "echo", "id": "…", "to": {"id": "…"}, "text": "…"}   an answer from the shop's own phone
    {"type": "edit", "id": "…", "of": "<the message's id>", "from": {"id": "…"}, "text": "…"}
    {"type": "revoke", "id": "…", "of": "…", "from": {"id": "…"}}
    {"type": "reaction", "id": "…", "of": "…", "from": {"id": "…"}, "emoji": "👍"}
    {"type": "clock", "from": {"id": "…"}, "hours": 25}
    {"type": "template", "name": "…", "language": "ru", "status": "paused", "reason": "…"}   (or "id": "sandbox-…")

or ``{"events": [...]}`` with many of them. Its templates are the few below, as a shop would have them.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from ..codecs.bodies import BadBody
from ..codecs.values import as_files, as_id, as_text, as_time, required_text
from .base import (
    ACCEPTED,
    Account,
    ApiRequest,
    ContactInfo,
    DeliveryRequest,
    EchoSeen,
    Fact,
    Json,
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

LONGEST_JUMP_HOURS = 24 * 31
PAGE = 5  # templates: few, so that there are several pages


def _row(name: str, language: str, body: str, examples: dict[str, str], **more: Any) -> Json:
    """A template as the Graph API lists it. ``examples`` by variable; ``more`` are footer, buttons and fields."""
    named = not all(key.isdigit() for key in examples)
    sample: Json = {"body_text": [list(examples.values())]}
    if named:
        pairs = [{"param_name": key, "example": example} for key, example in examples.items()]
        sample = {"body_text_named_params": pairs}
    components: list[Json] = [{"type": "BODY", "text": body, **({"example": sample} if examples else {})}]
    if header := more.pop("header", ""):
        components.insert(0, {"type": "HEADER", "format": "TEXT", "text": header})
    if footer := more.pop("footer", ""):
        components.append({"type": "FOOTER", "text": footer})
    if buttons := more.pop("buttons", ()):
        components.append({"type": "BUTTONS", "buttons": list(buttons)})
    return {
        "id": f"sandbox-{name}-{language}",
        "name": name,
        "language": language,
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "NAMED" if named else "POSITIONAL",
        "components": components,
        "quality_score": {"score": "GREEN"},
        **more,
    }


def _labels(*labels: tuple[str, str, str]) -> Json:
    """Key, label and hint of each variable, as our own export has them."""
    return {"variables": [{"key": key, "label": label, "hint": hint} for key, label, hint in labels]}


def _replies(*texts: str) -> list[Json]:
    return [{"type": "QUICK_REPLY", "text": text} for text in texts]


_NAME_RU = ("Имя клиента", "Как обращаемся в чате")
_NAME_EN = ("Client’s name", "As we call them in the chat")

TEMPLATES: tuple[Json, ...] = (
    _row(
        "order_ready",
        "ru",
        "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
        {"1": "Анна", "2": "№ 4417"},
        header="Заказ готов",
        footer="Ежедневно с 9 до 21",
        buttons=_replies("Как добраться", "Отложить"),
        **_labels(("1", *_NAME_RU), ("2", "Номер заказа", "Как в письме: № 4417")),
    ),
    _row(
        "order_ready",
        "en",
        "Hello {{1}}! Your order {{2}} is ready to be picked up.",
        {"1": "Anna", "2": "No. 4417"},
        header="Your order is ready",
        footer="Daily from 9 to 21",
        buttons=_replies("How to get there", "Keep it for me"),
        **_labels(("1", *_NAME_EN), ("2", "Order number", "As in the letter: No. 4417")),
    ),
    _row(
        "pickup_tomorrow",
        "ru",
        "Добрый день, {{1}}! Напоминаем: заказ {{2}} можно забрать завтра с {{3}}. Адрес: Лиговский проспект, 30.",
        {"1": "Анна", "2": "№ 4417", "3": "10:00"},
        **_labels(
            ("1", *_NAME_RU), ("2", "Номер заказа", "Как в письме: № 4417"), ("3", "Время", "Часы и минуты: 10:00")
        ),
    ),
    _row(
        "pickup_tomorrow",
        "en",
        "Good day, {{1}}! A reminder: order {{2}} can be picked up tomorrow from {{3}}. We are at 30 Ligovsky Avenue.",
        {"1": "Anna", "2": "No. 4417", "3": "10:00"},
        **_labels(
            ("1", *_NAME_EN), ("2", "Order number", "As in the letter: No. 4417"), ("3", "Time", "As on a clock: 10:00")
        ),
    ),
    _row(
        "we_answered",
        "ru",
        "Мы ответили на ваш вопрос. Напишите нам любое слово, и мы сразу пришлём ответ.",
        {},
        buttons=_replies("Показать ответ"),
    ),
    _row(
        "we_answered",
        "en",
        "We have an answer to your question. Write us any word and we will send it at once.",
        {},
        buttons=_replies("Show the answer"),
    ),
    _row(
        "courier_today",
        "ru",
        "Здравствуйте, {{client_name}}! Курьер привезёт заказ {{order}} сегодня с {{from}} до {{till}}. Он позвонит.",
        {"client_name": "Анна", "order": "№ 4417", "from": "14:00", "till": "18:00"},
        buttons=[
            {"type": "URL", "text": "Где курьер", "url": "https://shop.example/track/{{1}}", "example": ["4417"]},
            {"type": "PHONE_NUMBER", "text": "Позвонить нам", "phone_number": "+78125550100"},
        ],
        **_labels(
            ("client_name", *_NAME_RU),
            ("order", "Номер заказа", "Как в письме: № 4417"),
            ("from", "С какого часа", "Часы и минуты"),
            ("till", "До какого часа", "Часы и минуты"),
        ),
    ),
    _row(
        "address_needed",
        "ru",
        "По заказу {{1}} нам не хватает адреса доставки. Пришлите, пожалуйста, улицу, дом и квартиру.",
        {"1": "№ 4417"},
        **_labels(("1", "Номер заказа", "Как в письме: № 4417")),
    ),
    _row(
        "address_needed",
        "en",
        "We have no delivery address for order {{1}} yet. Please send us your street, house and flat.",
        {"1": "No. 4417"},
        **_labels(("1", "Order number", "As in the letter: No. 4417")),
    ),
    _row(
        "autumn_sale",
        "ru",
        "Здравствуйте, {{1}}! Осенняя скидка {{2}} % на всю обувь действует до {{3}} включительно.",
        {"1": "Анна", "2": "20", "3": "30 ноября"},
        category="MARKETING",
        status="PAUSED",
        quality_score={"score": "RED"},
        **_labels(("1", *_NAME_RU), ("2", "Скидка", "Число без знака процента"), ("3", "Последний день", "30 ноября")),
    ),
)


class Sandbox(Messenger):
    label = _("Sandbox (a phone on a web page)")
    has_training_phone = True
    lists_templates = True
    supports_quotes = True
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
            if word not in self.status_map:
                raise BadBody(_("Unknown status “%(status)s”.") % {"status": word[:40]})
            return StatusChanged(
                message_id=as_id(item.get("message_id")),
                external_id=as_text(item.get("external_id")),
                status=self.status_map[word],
                at=as_time(item.get("timestamp")),
                code=as_text(item.get("code"))[:40],
                title=as_text(item.get("title"))[:300],
            )
        if kind == "clock":
            hours = item.get("hours")
            if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= LONGEST_JUMP_HOURS:
                raise BadBody(_("“hours” must be a number above zero, at most a month."))
            return TimePassed(contact=self._contact(item), seconds=int(hours * 3600))
        if kind == "template":
            return self._template(item)
        if kind == "echo":
            said = self._message(item)
            return EchoSeen(
                contact=said.contact,
                text=said.text,
                external_id=required_text(said.external_id, "id"),
                at=said.at,
                files=said.files,
            )
        if kind in ("edit", "revoke", "reaction"):
            return self._correction(str(kind), item)
        raise BadBody(_("“type” must be message, echo, edit, revoke, reaction, status, clock or template."))

    def _correction(self, kind: str, item: dict[str, Any]) -> Fact:
        """With ``to`` in place of ``from`` it was made on the shop's own phone."""
        common: dict[str, Any] = {
            "contact": self._contact(item),
            "target_id": required_text(item.get("of"), "of")[:190],
            "external_id": as_text(item.get("id"))[:190],
            "at": as_time(item.get("timestamp")),
            "by_us": "from" not in item,
        }
        if kind == "edit":
            return MessageEdited(text=required_text(item.get("text"), "text"), **common)
        if kind == "revoke":
            return MessageRevoked(**common)
        return ReactionChanged(emoji=as_text(item.get("emoji"))[:40], **common)

    def _contact(self, item: dict[str, Any]) -> ContactInfo:
        sender = item.get("from", item.get("to"))
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

    def _template(self, item: dict[str, Any]) -> TemplateChanged:
        external_id = as_text(item.get("id"))[:190]
        name, language = as_text(item.get("name"))[:512], as_text(item.get("language"))[:20]
        if not external_id and not (name and language):
            raise BadBody(_("“name” and “language” must say which template it is."))
        return TemplateChanged(
            external_id=external_id,
            name=name,
            language=language,
            status=required_text(item.get("status"), "status")[:40],
            reason=as_text(item.get("reason"))[:1000],
        )

    def fetch_templates(self, account: Account, *, after: str = "") -> ApiRequest | TemplatePage:
        begin = int(after) if after.isascii() and after.isdigit() else 0
        end = begin + PAGE
        return TemplatePage(rows=TEMPLATES[begin:end], after=str(end) if end < len(TEMPLATES) else "")

    def build_message_request(self, outgoing: DeliveryRequest, account: Account) -> ApiRequest | Outcome:
        """The phone page reads what was delivered from the portal itself, so there is no call to make."""
        return Outcome(verdict=ACCEPTED, external_id=f"sandbox-{outgoing.key}")


provider = Sandbox()
