"""Meta simulator: rendering, listing, submission, review and deletion of templates."""

from typing import Any

import pytest

from tests.receiver import Receiver
from tests.simulators.calling import call, changes, code, get, send, values
from tests.simulators.meta import MetaSimulator
from tests.simulators.phones import Phone


def template(*components: Any, name: str = "order_ready", language: str = "ru") -> dict[str, Any]:
    return {"type": "template", "template": {"name": name, "language": {"code": language}, "components": components}}


def body_of(*words: Any) -> dict[str, Any]:
    return {"type": "body", "parameters": [{"type": "text", "text": word} for word in words]}


def url_button(value: str, *, index: Any = "0", sub_type: str = "url") -> dict[str, Any]:
    return {"type": "button", "sub_type": sub_type, "index": index, "parameters": [{"type": "text", "text": value}]}


RICH = [
    {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::a"]}},
    {"type": "BODY", "text": "Заказ {{1}} готов.", "example": {"body_text": [["42"]]}},
    {"type": "FOOTER", "text": "Магазин"},
    {
        "type": "BUTTONS",
        "buttons": [
            {"type": "URL", "text": "Смотреть", "url": "https://x.example/{{1}}", "example": ["https://x.example/1"]},
            {"type": "QUICK_REPLY", "text": "Отменить"},
        ],
    },
]
PICTURE = {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x.example/a.jpg"}}]}


def test_a_template_is_rendered_and_priced_by_its_category(
    meta: MetaSimulator, receiver: Receiver, anna: Phone
) -> None:
    meta.add_template("rich", components=RICH)
    meta.later(hours=100)

    answer = send(meta, **template(PICTURE, body_of("№ {{1}}"), url_button("ab%2F1"), name="rich"))
    meta.quiet()

    assert answer.json()["messages"][0]["message_status"] == "accepted"
    assert anna.received[0].text == (
        "[IMAGE]\nЗаказ № {{1}} готов.\nМагазин\n[Смотреть](https://x.example/ab%2F1)\n[Отменить]"
    )
    assert values(receiver, "statuses")[0]["pricing"]["category"] == "utility"


def test_named_parameters_are_matched_by_name(meta: MetaSimulator, anna: Phone) -> None:
    body = {"type": "BODY", "text": "Это {{name}}, {{order}}.", "example": {"body_text_named_params": []}}
    body["example"]["body_text_named_params"] = [{"param_name": "name", "example": "А"}]  # type: ignore[index]  # a dict it is
    meta.add_template("named", components=[body], parameter_format="NAMED")
    pair = [{"type": "text", "parameter_name": name, "text": text} for name, text in (("order", "№ 1"), ("name", "Я"))]

    good = send(meta, **template({"type": "body", "parameters": pair}, name="named"))
    bare = send(meta, **template(body_of("Я", "№ 1"), name="named"))

    assert good.status_code == 200
    assert anna.received[0].text == "Это Я, № 1."
    assert code(bare) == 132012


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (template(body_of("Анна", "42"), name="unknown"), 132001),
        (template(body_of("Анна", "42"), language="en_US"), 132001),
        (template(body_of("Анна", "42"), name="pending"), 132001),
        (template(name="paused"), 132015),
        (template(name="disabled"), 132016),
        (template(body_of("Анна")), 132000),
        (template(), 132000),
        (template(body_of("Анна", "42", "лишнее")), 132000),
        (template(body_of("Анна", "два\nряда")), 132018),
        (template(body_of("Анна", "пять     пробелов")), 132018),
        (template(body_of("Анна", "")), 131008),
        (template(body_of("Анна", "ы" * 1024)), 132005),
        (template({"type": "body", "parameters": [{"type": "image", "image": {}}] * 2}), 132012),
        (template(body_of("Анна", "42"), {"type": "footer"}), 132018),
        (template(body_of("42"), url_button("1"), name="rich"), 132012),
        (template(PICTURE, body_of("42"), name="rich"), 131008),
        (template(PICTURE, body_of("42"), url_button("1", index="2"), name="rich"), 132018),
        (template(PICTURE, body_of("42"), url_button("1", sub_type="quick_reply"), name="rich"), 132018),
        (template(PICTURE, body_of("42"), url_button(""), name="rich"), 132012),
    ],
)
def test_a_template_with_wrong_parameters_is_rejected(
    meta: MetaSimulator, anna: Phone, sent: dict[str, Any], expected: int
) -> None:
    meta.add_template()
    meta.add_template("rich", components=RICH)
    for status in ("pending", "paused", "disabled"):
        meta.add_template(status, body="Да.", status=status.upper())

    assert code(send(meta, **sent)) == expected
    assert anna.received == []


def test_the_list_has_pages_until_there_is_no_next(meta: MetaSimulator) -> None:
    for number in range(7):
        meta.add_template(f"template_{number}", status="PAUSED" if number == 6 else "APPROVED")
    path, seen = f"{meta.waba_id}/message_templates", []

    answer = get(meta, path, limit=3).json()
    pages = 1
    seen += answer["data"]
    while "next" in answer["paging"]:
        answer = get(meta, path, limit=3, after=answer["paging"]["cursors"]["after"]).json()
        assert "next" not in answer["paging"] or answer["paging"]["next"].startswith(meta.url)
        seen += answer["data"]
        pages += 1

    assert pages == 3
    assert [row["name"] for row in seen] == [f"template_{number}" for number in range(7)]
    assert {"id", "status", "category", "language", "components", "quality_score"} <= set(seen[0])
    assert [row["name"] for row in get(meta, path, status="PAUSED").json()["data"]] == ["template_6"]
    assert get(meta, path, fields="name", limit=1).json()["data"] == [{"id": seen[0]["id"], "name": "template_0"}]


NEW = {
    "name": "autumn",
    "language": "ru",
    "category": "MARKETING",
    "components": [{"type": "BODY", "text": "Здравствуйте, {{1}}!", "example": {"body_text": [["Анна"]]}}],
}


@pytest.mark.parametrize(("verdict", "status"), [("approve", "APPROVED"), ("reject", "REJECTED"), ("wait", "PENDING")])
def test_a_new_template_is_pending_and_then_reviewed(
    meta: MetaSimulator, receiver: Receiver, verdict: str, status: str
) -> None:
    meta.behave(review=verdict)

    made = call(meta, f"{meta.waba_id}/message_templates", NEW).json()
    meta.quiet()

    updates = [change["value"] for change in changes(receiver)]
    assert made == {"id": made["id"], "status": "PENDING", "category": "MARKETING"}
    assert get(meta, made["id"]).json()["status"] == status
    assert [value["event"] for value in updates] == ([] if verdict == "wait" else [status])
    assert all(value["message_template_id"] == int(made["id"]) for value in updates)
    assert code(call(meta, f"{meta.waba_id}/message_templates", NEW)) == 100


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Осень"},
        {"name": ""},
        {"category": "NEWS"},
        {"components": []},
        {"components": [{"type": "BODY", "text": "ы" * 1025}]},
        {"components": [{"type": "BODY", "text": "Без примера {{1}}."}]},
        {"components": [{"type": "BODY", "text": "{{1}} в начале", "example": {"body_text": [["1"]]}}]},
        {"components": [{"type": "BODY", "text": "Пропуск {{2}}.", "example": {"body_text": [["1"]]}}]},
        {"components": [*NEW["components"], {"type": "FOOTER", "text": "ы" * 61}]},
        {"components": [*NEW["components"], {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "ы" * 26}]}]},
    ],
)
def test_a_new_template_that_breaks_a_rule_is_rejected(meta: MetaSimulator, change: dict[str, Any]) -> None:
    assert code(call(meta, f"{meta.waba_id}/message_templates", NEW | change)) == 100
    assert meta.templates.rows == {}


def test_an_approved_template_is_edited_once_a_day_and_keeps_its_category(meta: MetaSimulator) -> None:
    row = meta.add_template("autumn", body="Старое.")
    change = {"components": [{"type": "BODY", "text": "Новое."}]}

    category = call(meta, row.id, change | {"category": "MARKETING"})
    first, second = call(meta, row.id, change), call(meta, row.id, change)
    meta.later(hours=25)
    third = call(meta, row.id, change)

    assert [code(answer) for answer in (category, second)] == [100, 100]
    assert [answer.json() for answer in (first, third)] == [{"success": True}] * 2
    assert row.component("BODY")["text"] == "Новое."


def test_deleting_by_name_removes_all_languages_and_by_id_one(meta: MetaSimulator) -> None:
    path = f"{meta.waba_id}/message_templates"
    rows = [meta.add_template("a", language=language) for language in ("ru", "en_US")]
    for language in ("ru", "en_US"):
        meta.add_template("b", language=language)

    one = call(meta, path, method="DELETE", params={"name": "a", "hsm_id": rows[0].id})
    all_of_b = call(meta, path, method="DELETE", params={"name": "b"})
    nothing = call(meta, path, method="DELETE", params={"name": "b"})
    again = call(meta, path, NEW | {"name": "b"})

    assert one.json() == all_of_b.json() == {"success": True}
    assert [(row.name, row.language) for row in meta.templates.rows.values()] == [("a", "en_US")]
    assert (code(nothing), code(again)) == (100, 100)
    meta.later(hours=31 * 24)
    assert call(meta, path, NEW | {"name": "b"}).status_code == 200


def test_changes_of_a_template_by_meta_are_posted(meta: MetaSimulator, receiver: Receiver) -> None:
    row = meta.add_template()

    meta.review(row, "PAUSED", other_info={"title": "FIRST_PAUSE"})
    meta.recategorize(row, "MARKETING", soon=True)
    meta.recategorize(row, "MARKETING")
    meta.rewrite(row, "Совсем другой текст.")
    meta.grade(row, "RED")
    unpaused = call(meta, f"{row.id}/unpause")
    meta.quiet()

    updates = {change["field"]: change["value"] for change in changes(receiver)}
    assert unpaused.json() == {"success": True}
    assert updates["message_template_status_update"]["event"] == row.status == "APPROVED"
    assert updates["template_category_update"] == {
        "message_template_id": int(row.id),
        "message_template_name": "order_ready",
        "message_template_language": "ru",
        "previous_category": "UTILITY",
        "new_category": "MARKETING",
    }
    assert updates["message_template_components_update"]["message_template_element"] == "Совсем другой текст."
    assert updates["message_template_quality_update"]["new_quality_score"] == "RED"
    assert all(isinstance(request.json["entry"][0]["time"], int) for request in receiver.requests)


# --- rejected components and their codes ------------------------------------------------------------------

LATER = 2_000_000_000_000
CARD = [
    {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::a"]}},
    {"type": "BODY", "text": "Сапоги."},
]
PARTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "papers": (
        "UTILITY",
        [
            {"type": "HEADER", "format": "DOCUMENT", "example": {"header_handle": ["4::a"]}},
            {"type": "BODY", "text": "Счёт."},
        ],
    ),
    "place": ("UTILITY", [{"type": "HEADER", "format": "LOCATION"}, {"type": "BODY", "text": "Мы здесь."}]),
    "code": (
        "AUTHENTICATION",
        [{"type": "BODY"}, {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}],
    ),
    "coupon": (
        "MARKETING",
        [{"type": "BODY", "text": "Ура."}, {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "example": "A"}]}],
    ),
    "flow": (
        "UTILITY",
        [{"type": "BODY", "text": "Форма."}, {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Да"}]}],
    ),
    "products": (
        "MARKETING",
        [{"type": "BODY", "text": "Товары."}, {"type": "BUTTONS", "buttons": [{"type": "MPM", "text": "Да"}]}],
    ),
    "product": (
        "MARKETING",
        [
            {"type": "HEADER", "format": "PRODUCT"},
            {"type": "BODY", "text": "Товар."},
            {"type": "BUTTONS", "buttons": [{"type": "SPM", "text": "Да"}]},
        ],
    ),
    "offer": (
        "MARKETING",
        [
            {"type": "LIMITED_TIME_OFFER", "limited_time_offer": {"text": "Скидка", "has_expiration": True}},
            {"type": "BODY", "text": "До конца."},
        ],
    ),
    "cards": (
        "MARKETING",
        [
            {"type": "BODY", "text": "Смотрите."},
            {"type": "CAROUSEL", "cards": [{"components": CARD}, {"components": CARD}]},
        ],
    ),
}


def head(kind: str, **content: Any) -> dict[str, Any]:
    return {"type": "header", "parameters": [{"type": kind, kind: content}]}


def pressed(sub_type: str, kind: str, value: Any) -> dict[str, Any]:
    return {"type": "button", "sub_type": sub_type, "index": "0", "parameters": [{"type": kind, kind: value}]}


def until(value: Any) -> dict[str, Any]:
    parameter = {"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": value}}
    return {"type": "limited_time_offer", "parameters": [parameter]}


def cards(*contents: Any) -> dict[str, Any]:
    return {"type": "carousel", "cards": [{"card_index": at, "components": each} for at, each in enumerate(contents)]}


PHOTO = head("image", link="https://x.example/a.jpg")
POINT = {"latitude": "59.9", "longitude": "30.3", "name": "Магазин", "address": "Невский, 1"}
SECTION = {"title": "Сапоги", "product_items": [{"product_retailer_id": "SKU-1"}]}
LIST = {"thumbnail_product_retailer_id": "SKU-1", "sections": [SECTION]}


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("papers", [head("document", link="https://x.example/a.pdf", filename="Счёт.pdf")], 0),
        ("papers", [], 132012),
        ("papers", [PHOTO], 132012),
        ("papers", [head("document", id="1", link="https://x.example/a.pdf")], 131008),
        ("papers", [head("document", id="значение")], 131009),
        ("papers", [head("document", link="ftp://x.example/a.pdf")], 131009),
        ("papers", [head("document", link="https://x.example/a.pdf", caption="x")], 132018),
        ("place", [head("location", **POINT)], 0),
        ("place", [], 132012),
        ("place", [head("location", **POINT | {"latitude": "91"})], 131009),
        ("place", [head("location", **POINT | {"longitude": "там"})], 131009),
        ("place", [head("location", **POINT | {"address": ""})], 131008),
        ("code", [body_of("4829"), url_button("4829")], 0),
        ("code", [], 132000),
        ("code", [body_of("4829")], 131008),
        ("code", [body_of("4829"), url_button("1111")], 132018),
        ("code", [body_of("4" * 16), url_button("4" * 16)], 131009),
        ("coupon", [pressed("copy_code", "coupon_code", "SALE")], 0),
        ("coupon", [], 131008),
        ("coupon", [pressed("copy_code", "text", "SALE")], 132012),
        ("coupon", [pressed("copy_code", "coupon_code", "S" * 21)], 131009),
        ("flow", [pressed("flow", "action", {"flow_token": "unused"})], 0),
        ("flow", [], 131009),
        ("flow", [pressed("flow", "action", {"flow_token": ""})], 131008),
        ("flow", [pressed("flow", "payload", "x")], 132012),
        ("products", [pressed("mpm", "action", LIST)], 0),
        ("products", [], 131008),
        ("products", [pressed("mpm", "action", {"sections": [SECTION]})], 131008),
        ("products", [pressed("mpm", "action", LIST | {"sections": []})], 131008),
        ("products", [pressed("mpm", "action", LIST | {"sections": [SECTION] * 11})], 131009),
        ("products", [pressed("mpm", "action", LIST | {"sections": [SECTION, SECTION | {"title": ""}]})], 131008),
        ("product", [head("product", product_retailer_id="SKU-1", catalog_id="1")], 0),
        ("product", [], 132012),
        ("product", [head("product", product_retailer_id="SKU-1")], 131008),
        ("offer", [until(LATER)], 0),
        ("offer", [], 131008),
        ("offer", [until(1_000_000_000_000)], 131009),
        ("offer", [until("завтра")], 131009),
        ("offer", [{"type": "limited_time_offer", "parameters": [{"type": "text", "text": "x"}]}], 132012),
        ("cards", [cards([PHOTO], [PHOTO])], 0),
        ("cards", [], 132012),
        ("cards", [cards([PHOTO])], 132018),
        ("cards", [cards([PHOTO], [])], 132012),
        ("cards", [cards([PHOTO], [PHOTO, body_of("лишнее")])], 132000),
        ("cards", [cards([PHOTO], [PHOTO]), until(LATER)], 132018),
    ],
)
def test_each_component_has_its_own_rules(
    meta: MetaSimulator, anna: Phone, name: str, sent: list[dict[str, Any]], expected: int
) -> None:
    category, components = PARTS[name]
    meta.add_template(name, components=components, category=category)

    answer = send(meta, **template(*sent, name=name))

    assert (code(answer) if expected else answer.status_code) == (expected or 200), answer.json()


@pytest.mark.parametrize(
    "change",
    [
        {"category": "UTILITY"},
        {"components": [{"type": "BODY", "text": "x"}, {"type": "CAROUSEL", "cards": [{"components": CARD}]}]},
        {
            "components": [
                {"type": "BODY", "text": "x"},
                {"type": "CAROUSEL", "cards": [{"components": CARD}, {"components": CARD[:1]}]},
            ]
        },
        {"components": [{"type": "BODY", "text": "x"}, {"type": "POLL"}]},
    ],
)
def test_a_carousel_with_different_cards_is_rejected(meta: MetaSimulator, change: dict[str, Any]) -> None:
    row = {"name": "cards", "language": "ru", "category": "MARKETING", "components": PARTS["cards"][1]}

    answer = call(meta, f"{meta.waba_id}/message_templates", row | change)

    assert code(answer) == 100


def test_an_authentication_template_is_listed_with_metas_text_and_link(meta: MetaSimulator) -> None:
    meta.add_template("code", components=PARTS["code"][1], category="AUTHENTICATION")

    [row] = get(meta, f"{meta.waba_id}/message_templates").json()["data"]

    assert row["components"][0]["text"] == "*{{1}}* is your verification code."
    assert row["components"][1]["buttons"][0]["type"] == "URL"
