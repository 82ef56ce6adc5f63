"""Rendering: visible message, problems with values, and the provider's parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_registry.content.components import (
    Button,
    Header,
    InvalidTemplate,
    ParameterFormat,
    TemplateDefinition,
    Variable,
)
from templates_registry.content.normalization import normalize_text
from templates_registry.content.rendering import build_provider_components, check_text_value, encode_link_end, render

GREETING = TemplateDefinition(
    name="order_ready",
    language="ru",
    header=Header(text="Заказ {{1}}"),
    body="Здравствуйте, {{1}}! Ваш заказ {{2}} готов.",
    footer="Ежедневно с 9 до 21",
    buttons=(
        Button("QUICK_REPLY", "Отложить"),
        Button("URL", "Открыть", url="https://shop.example/{{1}}"),
        Button("COPY_CODE", "Скопировать код"),
    ),
    described=(Variable("1", label="Имя клиента"), Variable("2", label="Номер заказа")),
)
VALUES = {"header.1": "№ 42", "1": "Анна", "2": "42", "button.1": "o/42", "button.2": "CODE42"}


def problems(template: TemplateDefinition, values: object) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in render(template, values).problems]


def test_the_phone_shows_every_part_with_its_values() -> None:
    found = render(GREETING, VALUES)

    assert found.ready
    assert found.header == "Заказ № 42"
    assert found.body == "Здравствуйте, Анна! Ваш заказ 42 готов."
    assert found.text == "Заказ № 42\nЗдравствуйте, Анна! Ваш заказ 42 готов.\nЕжедневно с 9 до 21"
    assert [button.target for button in found.buttons] == ["", "https://shop.example/o/42", "CODE42"]


def test_values_may_come_as_a_list_in_the_order_of_the_variables() -> None:
    assert render(GREETING, list(VALUES.values())) == render(GREETING, VALUES)


def test_placeholders_inside_values_are_not_substituted() -> None:
    template = TemplateDefinition("t", "ru", "{{1}}, заказ {{2}} и снова {{1}} {готов}")

    found = render(template, ["{{2}}", "{{1}} {x} {0} %s \\1"])

    assert found.body == "{{2}}, заказ {{1}} {x} {0} %s \\1 и снова {{2}} {готов}"


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2))
def test_any_value_is_inserted_unchanged(values: list[str]) -> None:
    template = TemplateDefinition("t", "ru", "а{{1}}б{{2}}в{{1}}")

    assert render(template, values).body == f"а{values[0]}б{values[1]}в{values[0]}"


def test_a_missing_value_shows_its_label_and_is_named() -> None:
    found = render(GREETING, VALUES | {"2": ""})

    assert not found.ready
    assert "Ваш заказ [Номер заказа] готов" in found.body
    [problem] = found.problems
    assert (problem.field, problem.code) == ("variables.2", "missing")
    assert "Номер заказа" in str(problem.sentence)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("  ", "empty"),
        ("\u200b\u00a0", "empty"),
        ("№ 42\nсрочно", "newline"),
        ("№ 42\r", "newline"),
        ("№ 42\u2028срочно", "newline"),
        ("№ 42\tсрочно", "tab"),
        ("№     42", "spaces"),
        ("№\u00a0\u00a0\u00a0\u00a0 42", "spaces"),
        ("№    42", ""),
        (" {{2}} ", "placeholder"),
    ],
)
def test_values_that_the_provider_refuses_are_reported(value: str, code: str) -> None:
    assert problems(GREETING, VALUES | {"2": value}) == ([("variables.2", code)] if code else [])


@given(st.text(alphabet="a \t\n\u00a0\u200b", min_size=1, max_size=9))
def test_value_rules_are_the_same_in_rendering_and_matching(value: str) -> None:
    folded = normalize_text(f"(){value}()")
    inner = (1 << (len(folded.text) - 2)) - 4
    blank = len(folded.text) == 4 or (len(folded.text) == 5 and folded.text[2] in " \n")

    assert bool(check_text_value(value)) == (blank or bool(folded.barred & inner))


def test_an_unknown_value_is_reported() -> None:
    assert problems(GREETING, VALUES | {"7": "лишнее"}) == [("variables.7", "unknown_value")]
    assert problems(TemplateDefinition("t", "ru", "Заказ {{1}} готов"), ["42", "43"]) == [
        ("variables.+1", "unknown_value")
    ]


def test_length_is_checked_after_inserting_values() -> None:
    template = TemplateDefinition("t", "ru", "а" * 1000 + "{{1}}", header=Header(text="Заказ {{1}}"))

    assert problems(template, {"1": "б" * 24, "header.1": "1" * 54}) == []
    assert problems(template, {"1": "б" * 25, "header.1": "1" * 55}) == [
        ("header", "rendered_too_long"),
        ("body", "rendered_too_long"),
    ]
    assert problems(GREETING, VALUES | {"button.2": "C" * 21}) == [("variables.button.2", "code_too_long")]
    assert problems(GREETING, VALUES | {"button.1": "ж" * 400}) == [("variables.button.1", "link_too_long")]


def test_a_default_replaces_a_missing_value() -> None:
    picture = TemplateDefinition(
        "t",
        "ru",
        "Заказ готов",
        header=Header("IMAGE"),
        described=(Variable("header.media", default="https://shop.example/ready.png"),),
    )

    assert render(picture, {}).ready
    assert render(picture, {}).media == "https://shop.example/ready.png"
    assert problems(TemplateDefinition("t", "ru", "Заказ готов", header=Header("IMAGE")), {}) == [
        ("variables.header.media", "missing")
    ]


def test_text_only_rendering_requires_only_values_of_the_text() -> None:
    picture = TemplateDefinition("t", "ru", "Заказ {{1}} готов", header=Header("IMAGE"), buttons=GREETING.buttons)

    assert render(picture, {"1": "42"}, text_only=True).ready
    assert not render(picture, {}, text_only=True).ready


def test_values_of_another_shape_raise_a_sentence() -> None:
    with pytest.raises(InvalidTemplate) as caught:
        render(GREETING, [["Анна"]])

    assert str(caught.value.sentence)


# for the provider


def test_provider_parameters_of_numbered_values_and_buttons() -> None:
    assert build_provider_components(GREETING, VALUES) == [
        {"type": "header", "parameters": [{"type": "text", "text": "№ 42"}]},
        {"type": "body", "parameters": [{"type": "text", "text": "Анна"}, {"type": "text", "text": "42"}]},
        {
            "type": "button",
            "sub_type": "url",
            "index": "1",
            "parameters": [{"type": "text", "text": "o/42"}],
        },
        {
            "type": "button",
            "sub_type": "copy_code",
            "index": "2",
            "parameters": [{"type": "coupon_code", "coupon_code": "CODE42"}],
        },
    ]


def test_provider_parameters_of_named_values() -> None:
    named = TemplateDefinition("t", "en", "Hello {{first_name}}, bye", format=ParameterFormat.NAMED)

    assert build_provider_components(named, {"first_name": "Anna"}) == [
        {
            "type": "body",
            "parameters": [{"type": "text", "text": "Anna", "parameter_name": "first_name"}],
        }
    ]


def test_a_component_without_values_is_left_out() -> None:
    assert build_provider_components(TemplateDefinition("t", "ru", "Заказ готов", footer="Ждём"), {}) == []


@pytest.mark.parametrize(
    ("kind", "values", "parameter"),
    [
        (
            "IMAGE",
            {"header.media": "https://a.example/1.png"},
            {"type": "image", "image": {"link": "https://a.example/1.png"}},
        ),
        ("DOCUMENT", {"header.media": "1234567890"}, {"type": "document", "document": {"id": "1234567890"}}),
        (
            "LOCATION",
            {
                "header.latitude": "59.9",
                "header.longitude": "30.3",
                "header.name": "Склад",
                "header.address": "Лиговский, 50",
            },
            {
                "type": "location",
                "location": {
                    "latitude": "59.9",
                    "longitude": "30.3",
                    "name": "Склад",
                    "address": "Лиговский, 50",
                },
            },
        ),
    ],
)
def test_provider_parameters_of_media_and_location_headers(
    kind: str, values: dict[str, str], parameter: object
) -> None:
    template = TemplateDefinition("t", "ru", "Заказ готов", header=Header(kind))

    assert build_provider_components(template, values) == [{"type": "header", "parameters": [parameter]}]


def test_a_quick_reply_can_have_a_payload() -> None:
    values = VALUES | {"button.0": "later:42"}

    assert render(GREETING, values).ready
    assert build_provider_components(GREETING, values)[2]["parameters"] == [{"type": "payload", "payload": "later:42"}]


def test_the_end_of_a_link_is_encoded_once() -> None:
    assert encode_link_end("заказ 1/2?a=б") == "%D0%B7%D0%B0%D0%BA%D0%B0%D0%B7%201/2?a=%D0%B1"
    assert encode_link_end("a%20b 100%") == "a%20b%20100%25"
