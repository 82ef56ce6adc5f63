"""Templates of every kind that Meta's reference knows, each with values that complete it.

Sources: wire notes and Meta's reference. Templates have the format of the provider's list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
PICTURE, PAPER = "https://shop.example/a.jpg", "https://shop.example/files/Счёт-5.pdf"
HANDLE = {"example": {"header_handle": ["4::aW1hZ2U="]}}
BODY: Json = {"type": "BODY", "text": "Заказ {{1}} готов.", "example": {"body_text": [["42"]]}}
PLAIN_BODY: Json = {"type": "BODY", "text": "Посмотрите, что у нас есть."}
LATE = "2030-12-31 18:00"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A kind of template with valid values. ``wrong``: invalid values by key, each with its problem's code."""

    components: list[Json]
    values: dict[str, str]
    category: str = "UTILITY"
    named: bool = False
    optional: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    refused_without: int = 0  # Meta's code for a call without parameters
    pastable: bool = False  # a pasted text contains all values

    def row(self, name: str) -> Json:
        return {
            "name": name,
            "language": "ru",
            "category": self.category,
            "parameter_format": "NAMED" if self.named else "POSITIONAL",
            "components": self.components,
        }


def header(form: str) -> Json:
    return {"type": "HEADER", "format": form} | (HANDLE if form in ("IMAGE", "VIDEO", "DOCUMENT", "GIF") else {})


def buttons(*rows: Json) -> Json:
    return {"type": "BUTTONS", "buttons": list(rows)}


def card(*components: Json) -> Json:
    return {"components": list(components)}


def media_shape(form: str) -> Shape:
    wrong = [("значение", "media_value"), ("http://shop.example/a", "media_value"), ("https://", "media_value")]
    return Shape(
        components=[header(form), BODY],
        values={"header.media": PICTURE, "1": "42"},
        wrong={"header.media": [*wrong, ("https://a b.example/", "media_value"), ("id-5", "media_value")]},
        refused_without=132012,
    )


LINK = {"type": "URL", "text": "Открыть", "url": "https://x.example/{{1}}", "example": ["https://x.example/1"]}
COUPON = {"type": "COPY_CODE", "example": "SALE25"}
CODE_BODY = {"type": "BODY", "add_security_recommendation": True}
CODE_FOOTER = {"type": "FOOTER", "code_expiration_minutes": 10}
TOO_LONG_CODE = [("1" * 16, "code_too_long"), ("12 34", "code_value")]


def code_shape(kind: str, **more: Any) -> Shape:
    otp = {"type": "OTP", "otp_type": kind, "text": "Скопировать", **more}
    return Shape(
        components=[CODE_BODY, CODE_FOOTER, buttons(otp)],
        values={"1": "482913"},
        category="AUTHENTICATION",
        wrong={"1": TOO_LONG_CODE},
        refused_without=132000,
        pastable=True,
    )


APP = {"supported_apps": [{"package_name": "com.shop", "signature_hash": "K8a/AINcGX7"}], "autofill_text": "Autofill"}

SHAPES: dict[str, Shape] = {
    "text": Shape(components=[BODY], values={"1": "42"}, refused_without=132000, pastable=True),
    "header text": Shape(
        components=[
            {"type": "HEADER", "format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["42"]}},
            BODY,
            {"type": "FOOTER", "text": "Магазин"},
        ],
        values={"header.1": "№ 42", "1": "42"},
        refused_without=132000,
    ),
    "named": Shape(
        components=[
            {
                "type": "BODY",
                "text": "Заказ {{order_id}} для {{first_name}} готов.",
                "example": {
                    "body_text_named_params": [
                        {"param_name": "order_id", "example": "42"},
                        {"param_name": "first_name", "example": "Анна"},
                    ]
                },
            }
        ],
        values={"order_id": "42", "first_name": "Анна"},
        named=True,
        refused_without=132000,
        pastable=True,
    ),
    "image": media_shape("IMAGE"),
    "video": media_shape("VIDEO"),
    "gif": media_shape("GIF"),
    "document": Shape(
        components=[header("DOCUMENT"), BODY],
        values={"header.media": PAPER, "1": "42"},
        optional={"header.filename": "Счёт 5.pdf"},
        wrong={"header.media": [("значение", "media_value")], "header.filename": [("a/b.pdf", "filename_value")]},
        refused_without=132012,
    ),
    "location": Shape(
        components=[header("LOCATION"), BODY],
        values={
            "header.latitude": "59.9343",
            "header.longitude": "-30.3351",
            "header.name": "Магазин",
            "header.address": "Лиговский, 1",
            "1": "42",
        },
        wrong={
            "header.latitude": [
                ("пятьдесят", "latitude_value"),
                ("90.1", "latitude_value"),
                ("59,9", "latitude_value"),
            ],
            "header.longitude": [("180.5", "longitude_value"), ("1e2", "longitude_value"), ("nan", "longitude_value")],
        },
        refused_without=132012,
    ),
    "buttons": Shape(
        components=[
            BODY,
            buttons(
                {"type": "QUICK_REPLY", "text": "Отменить"},
                LINK,
                {"type": "PHONE_NUMBER", "text": "Позвонить", "phone_number": "+78120000000"},
                COUPON,
            ),
        ],
        values={"1": "42", "button.1": "o/42", "button.3": "SALE30"},
        optional={"button.0": "cancel-42"},
        wrong={"button.1": [("я" * 400, "link_too_long")], "button.3": [("X" * 21, "code_too_long")]},
        refused_without=132000,
    ),
    "call": Shape(
        components=[PLAIN_BODY, buttons({"type": "VOICE_CALL", "text": "Позвонить в WhatsApp"})],
        values={},
        pastable=True,
    ),
    "otp copy code": code_shape("COPY_CODE"),
    "otp one tap": code_shape("ONE_TAP", **APP),
    "otp zero tap": code_shape("ZERO_TAP", zero_tap_terms_accepted=True, **APP),
    "otp as listed": Shape(
        components=[
            {"type": "BODY", "text": "*{{1}}* is your verification code.", "add_security_recommendation": False},
            buttons(
                {
                    "type": "URL",
                    "text": "Copy code",
                    "url": "https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp{{1}}",
                    "example": ["https://www.whatsapp.com/otp/code/?otp_type=COPY_CODE&code=otp123456"],
                }
            ),
        ],
        values={"1": "482913"},
        category="AUTHENTICATION",
        wrong={"1": TOO_LONG_CODE},
        refused_without=132000,
        pastable=True,
    ),
    "flow": Shape(
        components=[
            BODY,
            buttons({"type": "FLOW", "text": "Записаться", "flow_id": 77, "flow_action": "NAVIGATE"}),
        ],
        values={"1": "42"},
        optional={"button.0": "token-1", "button.0.data": '{"order": "42"}'},
        wrong={"button.0.data": [("[1]", "flow_data_value"), ("order", "flow_data_value")]},
        refused_without=132000,
        pastable=True,
    ),
    "catalog": Shape(
        components=[PLAIN_BODY, buttons({"type": "CATALOG", "text": "Каталог"})],
        values={},
        category="MARKETING",
        optional={"button.0": "SKU-1"},
        pastable=True,
    ),
    "multi-product": Shape(
        components=[PLAIN_BODY, buttons({"type": "MPM", "text": "Смотреть"})],
        values={"button.0": "Сапоги: SKU-1, SKU-2\nШапки: SKU-3"},
        category="MARKETING",
        optional={"button.0.thumbnail": "SKU-3"},
        wrong={
            "button.0": [
                ("Сапоги:", "sections_value"),
                ("[1]", "sections_value"),
                ("А: 1\n2", "sections_title"),
                ("Очень длинное название раздела: 1", "sections_title_long"),
                (", ".join(map(str, range(31))), "sections_many"),
            ]
        },
        refused_without=131008,
    ),
    "single product": Shape(
        components=[header("PRODUCT"), PLAIN_BODY, buttons({"type": "SPM", "text": "Смотреть"})],
        values={"header.product": "SKU-1", "header.catalog": "194836987003835"},
        category="MARKETING",
        wrong={
            "header.product": [("SKU 1", "product_value")],
            "header.catalog": [("каталог", "catalog_value")],
        },
        refused_without=132012,
    ),
    "offer": Shape(
        components=[
            header("IMAGE"),
            {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Скидка!", "has_expiration": True}},
            BODY,
            buttons(COUPON, LINK),
        ],
        values={"header.media": PICTURE, "1": "42", "button.0": "SALE25", "button.1": "x", "offer.expires": LATE},
        category="MARKETING",
        wrong={
            "offer.expires": [
                ("завтра", "moment_value"),
                ("2020-01-01 10:00", "moment_past"),
                ("1000000000000", "moment_past"),
                ("2030-13-01 10:00", "moment_value"),
            ]
        },
        refused_without=132012,
    ),
    "offer without end": Shape(
        components=[
            {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Скидка!", "has_expiration": False}},
            PLAIN_BODY,
            buttons({"type": "URL", "text": "Открыть", "url": "https://x.example/"}),
        ],
        values={},
        category="MARKETING",
        pastable=True,
    ),
    "media carousel": Shape(
        components=[
            BODY,
            {
                "type": "CAROUSEL",
                "cards": [
                    card(
                        header("IMAGE"),
                        {"type": "BODY", "text": "Сапоги {{1}}.", "example": {"body_text": [["38"]]}},
                        buttons({"type": "QUICK_REPLY", "text": "Хочу"}, LINK),
                    ),
                    card(
                        header("IMAGE"),
                        {"type": "BODY", "text": "Шапки {{1}}.", "example": {"body_text": [["M"]]}},
                        buttons({"type": "QUICK_REPLY", "text": "Хочу"}, LINK),
                    ),
                ],
            },
        ],
        values={
            "1": "42",
            "card.0.header.media": PICTURE,
            "card.0.1": "38",
            "card.0.button.1": "boots",
            "card.1.header.media": "1013859600000001",
            "card.1.1": "M",
            "card.1.button.1": "hats",
        },
        category="MARKETING",
        optional={"card.0.button.0": "boots-38"},
        wrong={
            "card.1.header.media": [("картинка", "media_value")],
            "card.0.1": [("a\nb", "newline"), ("{{1}}", "placeholder")],
        },
        refused_without=132000,
    ),
    "product carousel": Shape(
        components=[
            PLAIN_BODY,
            {
                "type": "CAROUSEL",
                "cards": [card(header("PRODUCT"), buttons({"type": "SPM", "text": "Смотреть"})) for _ in range(2)],
            },
        ],
        values={
            "card.0.header.product": "SKU-1",
            "card.0.header.catalog": "194836987003835",
            "card.1.header.product": "SKU-2",
            "card.1.header.catalog": "194836987003835",
        },
        category="MARKETING",
        refused_without=132012,
    ),
}

# Components that Okno cannot fill, and the word in the sentence that names them.
UNFILLABLE: dict[str, tuple[list[Json], str]] = {
    "header": ([{"type": "HEADER", "format": "HOLOGRAM"}, BODY], "HOLOGRAM"),
    "button": ([BODY, buttons(LINK, {"type": "ORDER_DETAILS", "text": "Оплатить"})], "ORDER_DETAILS"),
    "component": ([BODY, {"type": "POLL", "options": ["да", "нет"]}], "POLL"),
    "card": (
        [
            PLAIN_BODY,
            {
                "type": "CAROUSEL",
                "cards": [card(header("IMAGE"), PLAIN_BODY), card({"type": "HEADER", "format": "MAP"}, PLAIN_BODY)],
            },
        ],
        "MAP",
    ),
    "carousel without cards": ([PLAIN_BODY, {"type": "CAROUSEL", "cards": []}], "CAROUSEL"),
}
