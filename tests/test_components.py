"""Template definitions: parsing and serialization of the Graph API's format, and variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_registry.content import graph_format
from templates_registry.content.components import (
    Header,
    InvalidTemplate,
    ParameterFormat,
    Placeholder,
    TemplateDefinition,
    Variable,
    VariablePlace,
    split_placeholders,
)
from templates_registry.linting import lint_template

ORDER_READY: dict[str, Any] = {
    "name": "order_ready",
    "language": "ru",
    "category": "UTILITY",
    "parameter_format": "POSITIONAL",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["№ 42"]}},
        {
            "type": "BODY",
            "text": "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
            "example": {"body_text": [["Анна", "№ 42"]]},
        },
        {"type": "FOOTER", "text": "Ежедневно с 9 до 21"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "URL", "text": "Открыть", "url": "https://shop.example/{{1}}", "example": ["o/42"]},
                {"type": "PHONE_NUMBER", "text": "Позвонить", "phone_number": "+78120000000"},
                {"type": "QUICK_REPLY", "text": "Отложить"},
            ],
        },
    ],
}
NAMED: dict[str, Any] = {
    "name": "order_named",
    "language": "en_US",
    "category": "UTILITY",
    "parameter_format": "NAMED",
    "components": [
        {
            "type": "BODY",
            "text": "Hello {{first_name}}, order {{order_id}} is ready.",
            "example": {
                "body_text_named_params": [
                    {"param_name": "first_name", "example": "Anna"},
                    {"param_name": "order_id", "example": "42"},
                ]
            },
        }
    ],
}


@pytest.mark.parametrize("row", [ORDER_READY, NAMED], ids=["numbered", "named"])
def test_parsed_template_serializes_to_the_same_json(row: dict[str, object]) -> None:
    assert graph_format.serialize_template(graph_format.parse_template(row)) == row


def test_numbered_variables_of_header_and_body_are_distinct() -> None:
    found = graph_format.parse_template(ORDER_READY)

    assert [variable.key for variable in found.variables] == ["header.1", "1", "2", "button.0"]
    assert [variable.place for variable in found.variables] == [
        VariablePlace.HEADER,
        VariablePlace.BODY,
        VariablePlace.BODY,
        VariablePlace.BUTTON,
    ]
    assert [variable.example for variable in found.variables] == ["№ 42", "Анна", "№ 42", "o/42"]


def test_a_named_variable_is_the_same_in_header_and_body() -> None:
    found = TemplateDefinition("t", "ru", "Заказ {{order}} готов", header=Header(text="Заказ {{order}}"))

    assert [variable.key for variable in found.variables] == ["order"]


def test_numbered_values_are_ordered_by_number_not_position() -> None:
    found = TemplateDefinition("t", "ru", "Заказ {{2}} для {{1}} готов")

    assert found.arrange_values({"2": "42", "1": "Анна"}) == ["Анна", "42"]
    assert found.map_values(["Анна", "42"]) == {"1": "Анна", "2": "42"}


def test_named_values_are_arranged_by_name() -> None:
    found = graph_format.parse_template(NAMED)

    assert found.format is ParameterFormat.NAMED
    assert found.arrange_values({"order_id": "42", "first_name": "Anna"}) == {"first_name": "Anna", "order_id": "42"}


def test_number_values_become_text_and_other_types_are_refused() -> None:
    found = TemplateDefinition("t", "ru", "Заказ {{1}} для {{2}} готов")

    assert found.map_values([42, None]) == {"1": "42"}
    shapes: list[object] = ["42", 42, [["42"]], {"1": {}}, [True]]
    for wrong in shapes:
        with pytest.raises(InvalidTemplate):
            found.map_values(wrong)


def test_labels_and_hints_survive_an_updated_text() -> None:
    ours = Variable("1", label="Имя клиента", hint="Как обращаемся в чате")

    found = graph_format.parse_template(ORDER_READY, described=[ours])

    assert found.variable_title("1") == "Имя клиента"
    assert found.variable("1") == replace(ours, example="Анна")


def test_unknown_components_and_fields_are_preserved() -> None:
    carousel = {"type": "CAROUSEL", "cards": [{"components": []}]}
    flow = {"type": "FLOW", "text": "Заполнить", "flow_id": "77", "navigate_screen": "ONE"}
    row = NAMED | {"components": [*NAMED["components"], {"type": "BUTTONS", "buttons": [flow]}, carousel]}

    assert graph_format.serialize_template(graph_format.parse_template(row)) == row


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"components": "text"},
        {"components": ["text"]},
        {"components": [{"type": "BODY", "text": "a"}, {"type": "BODY", "text": "b"}]},
        {"components": [{"type": "BUTTONS", "buttons": ["x"]}]},
    ],
)
def test_invalid_template_data_raises_invalid_template(broken: object) -> None:
    with pytest.raises(InvalidTemplate) as caught:
        graph_format.parse_template(broken)

    assert str(caught.value.sentence)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
component = st.fixed_dictionaries(
    {"type": st.sampled_from(["HEADER", "BODY", "FOOTER", "BUTTONS", "LIMITED", "body"])},
    optional={
        "format": st.sampled_from(["TEXT", "IMAGE", "LOCATION", "OTHER"]) | json_values,
        "text": st.sampled_from(["Заказ {{1}}", "{{name}}", "{{"]) | json_values,
        "buttons": st.lists(
            st.dictionaries(st.sampled_from(["type", "text", "url", "example"]), json_values), max_size=3
        )
        | json_values,
        "example": st.dictionaries(
            st.sampled_from(["body_text", "header_text", "header_handle", "body_text_named_params"]), json_values
        )
        | json_values,
    },
)


@given(st.fixed_dictionaries({"components": st.lists(component, max_size=4)}) | json_values)
def test_any_json_parses_or_raises_invalid_template(row: object) -> None:
    try:
        found = graph_format.parse_template(row)
    except InvalidTemplate:
        return

    assert all(str(problem.sentence) for problem in lint_template(found))
    assert graph_format.parse_template(graph_format.serialize_template(found)).variables == found.variables


def test_a_text_is_split_into_fixed_parts_and_placeholders() -> None:
    assert split_placeholders("{{1}}, заказ {{ 2 }}{{name}}{") == (
        "",
        Placeholder("1"),
        ", заказ ",
        Placeholder("2"),
        "",
        Placeholder("name"),
        "{",
    )
    assert split_placeholders("без переменных {1} {{ }}") == ("без переменных {1} {{ }}",)
