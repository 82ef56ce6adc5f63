"""Sample templates of the sandbox, as a shop would have them."""

from __future__ import annotations

from typing import Any

from channels_setup.providers.base import Json

PAGE_SIZE = 5  # small, so that there are several pages


def _template(name: str, language: str, body: str, examples: dict[str, str], **more: Any) -> Json:
    """Return a template as the Graph API lists it.

    ``examples`` are by variable; ``more`` are header, footer, buttons and further fields.
    """
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
    """Return key, label and hint of each variable, in the format of our own export."""
    return {"variables": [{"key": key, "label": label, "hint": hint} for key, label, hint in labels]}


def _replies(*texts: str) -> list[Json]:
    return [{"type": "QUICK_REPLY", "text": text} for text in texts]


_NAME_RU = ("Имя клиента", "Как обращаемся в чате")
_NAME_EN = ("Client’s name", "As we call them in the chat")

TEMPLATES: tuple[Json, ...] = (
    _template(
        "order_ready",
        "ru",
        "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
        {"1": "Анна", "2": "№ 4417"},
        header="Заказ готов",
        footer="Ежедневно с 9 до 21",
        buttons=_replies("Как добраться", "Отложить"),
        **_labels(("1", *_NAME_RU), ("2", "Номер заказа", "Как в письме: № 4417")),
    ),
    _template(
        "order_ready",
        "en",
        "Hello {{1}}! Your order {{2}} is ready to be picked up.",
        {"1": "Anna", "2": "No. 4417"},
        header="Your order is ready",
        footer="Daily from 9 to 21",
        buttons=_replies("How to get there", "Keep it for me"),
        **_labels(("1", *_NAME_EN), ("2", "Order number", "As in the letter: No. 4417")),
    ),
    _template(
        "pickup_tomorrow",
        "ru",
        "Добрый день, {{1}}! Напоминаем: заказ {{2}} можно забрать завтра с {{3}}. Адрес: Лиговский проспект, 30.",
        {"1": "Анна", "2": "№ 4417", "3": "10:00"},
        **_labels(
            ("1", *_NAME_RU), ("2", "Номер заказа", "Как в письме: № 4417"), ("3", "Время", "Часы и минуты: 10:00")
        ),
    ),
    _template(
        "pickup_tomorrow",
        "en",
        "Good day, {{1}}! A reminder: order {{2}} can be picked up tomorrow from {{3}}. We are at 30 Ligovsky Avenue.",
        {"1": "Anna", "2": "No. 4417", "3": "10:00"},
        **_labels(
            ("1", *_NAME_EN), ("2", "Order number", "As in the letter: No. 4417"), ("3", "Time", "As on a clock: 10:00")
        ),
    ),
    _template(
        "we_answered",
        "ru",
        "Мы ответили на ваш вопрос. Напишите нам любое слово, и мы сразу пришлём ответ.",
        {},
        buttons=_replies("Показать ответ"),
    ),
    _template(
        "we_answered",
        "en",
        "We have an answer to your question. Write us any word and we will send it at once.",
        {},
        buttons=_replies("Show the answer"),
    ),
    _template(
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
    _template(
        "address_needed",
        "ru",
        "По заказу {{1}} нам не хватает адреса доставки. Пришлите, пожалуйста, улицу, дом и квартиру.",
        {"1": "№ 4417"},
        **_labels(("1", "Номер заказа", "Как в письме: № 4417")),
    ),
    _template(
        "address_needed",
        "en",
        "We have no delivery address for order {{1}} yet. Please send us your street, house and flat.",
        {"1": "No. 4417"},
        **_labels(("1", "Order number", "As in the letter: No. 4417")),
    ),
    _template(
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
