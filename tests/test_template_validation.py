"""Validation of templates: problems at their fields."""

from __future__ import annotations

from dataclasses import replace

import pytest

from templates_registry.content.components import (
    Button,
    Header,
    Level,
    TemplateDefinition,
    Variable,
    merge_descriptions,
)
from templates_registry.content.validation import REVIEWERS_REJECT, validate
from tests.scenarios.template_definitions import build_definition

BUTTON = Button("QUICK_REPLY", "Отложить")
LINK = Button("URL", "Открыть", url="https://shop.example/")


def codes(found: TemplateDefinition) -> set[str]:
    return {problem.code for problem in validate(found)}


def test_a_valid_template_has_no_problems() -> None:
    named = build_definition("Hello {{first_name}}, your order {{order}} is ready.", language="en_US", footer="Bye")

    assert validate(build_definition(header=Header(text="Заказ {{1}}"), buttons=(BUTTON, LINK))) == []
    assert validate(named) == []


@pytest.mark.parametrize(
    ("definition", "field", "code"),
    [
        (build_definition(name=""), "name", "name_missing"),
        (build_definition(name="a" * 513), "name", "name_too_long"),
        (build_definition(name="Заказ готов"), "name", "name_characters"),
        (build_definition(language=""), "language", "language_missing"),
        (build_definition(language="ru_RU"), "language", "language_unknown"),
        (build_definition(category="SPAM"), "category", "category_unknown"),
        (build_definition(""), "body", "body_missing"),
        (build_definition("Заказ " + "а" * 1019 + "."), "body", "too_long"),
        (build_definition("Ваш заказ {{1}, готов к выдаче"), "body", "braces"),
        (build_definition("Ваш заказ {{}} готов к выдаче"), "body", "braces"),
        (build_definition("Ваш заказ {{1}} готов для {{3}} сегодня"), "body", "not_sequential"),
        (build_definition("Ваш заказ {{1}} готов для {{name}} сегодня"), "body", "mixed_variables"),
        (build_definition("Ваш заказ {{#1}} готов к выдаче"), "body", "variable_name"),
        (build_definition("Ваш заказ {{Имя}} готов к выдаче"), "body", "variable_name"),
        (build_definition("{{1}}, ваш заказ готов к выдаче"), "body", "starts_with_variable"),
        (build_definition("Готов ваш заказ номер {{1}} "), "body", "ends_with_variable"),
        (build_definition("Вас, {{1}} {{2}}, ждёт заказ на складе"), "body", "adjacent_variables"),
        (build_definition("Заказ {{1}}: {{2}}, {{3}} готов"), "body", "too_many_variables"),
        (build_definition(header=Header(text="")), "header", "header_missing"),
        (build_definition(header=Header(text="З" * 61)), "header", "too_long"),
        (build_definition(header=Header(text="Заказ {{1}} от {{2}}")), "header", "header_many_variables"),
        (build_definition(header=Header(text="*Заказ* готов")), "header", "header_markup"),
        (build_definition(header=Header(text="Заказ\nготов")), "header", "header_lines"),
        (build_definition(header=Header("SOUND")), "header", "header_kind"),
        (build_definition(header=Header("LOCATION"), category="AUTHENTICATION"), "header", "header_location"),
        (build_definition(footer="Ж" * 61), "footer", "too_long"),
        (build_definition(footer="До {{1}}"), "footer", "footer_variable"),
        (build_definition("Заказ готов", footer="Заказ готов"), "footer", "footer_same"),
        (build_definition(buttons=(BUTTON,) * 11), "buttons", "buttons_too_many"),
        (build_definition(buttons=(LINK,) * 3), "buttons", "buttons_of_kind"),
        (build_definition(buttons=(BUTTON, LINK, BUTTON)), "buttons", "quick_replies_apart"),
        (build_definition(buttons=(Button("QUICK_REPLY"),)), "buttons.0.text", "button_text_missing"),
        (build_definition(buttons=(Button("QUICK_REPLY", "О" * 26),)), "buttons.0.text", "too_long"),
        (build_definition(buttons=(Button("QUICK_REPLY", "Да {{1}}"),)), "buttons.0.text", "button_variable"),
        (build_definition(buttons=(Button("URL", "Открыть"),)), "buttons.0.url", "url_missing"),
        (
            build_definition(buttons=(replace(LINK, url="https://x.example/" + "a" * 2000),)),
            "buttons.0.url",
            "too_long",
        ),
        (build_definition(buttons=(replace(LINK, url="https://{{1}}/a"),)), "buttons.0.url", "url_variable"),
        (build_definition(buttons=(Button("PHONE_NUMBER", "Звонок"),)), "buttons.0.phone_number", "phone_missing"),
        (build_definition(buttons=(Button("COPY_CODE", example="C" * 21),)), "buttons.0.example", "too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_rule_has_a_sentence_at_its_field(definition: TemplateDefinition, field: str, code: str) -> None:
    found = {(problem.field, problem.code): problem for problem in validate(definition)}

    assert (field, code) in found
    sentence = str(found[field, code].sentence)
    assert len(sentence.split()) > 2
    assert "%(" not in sentence


def test_examples_that_make_the_text_too_long_are_reported() -> None:
    long = merge_descriptions(build_definition("Заказ {{1}} " + "а" * 900), [Variable("1", example="б" * 200)])

    assert "sample_too_long" in codes(long)


def test_texts_that_reviewers_reject_are_warnings() -> None:
    found = validate(build_definition("{{1}}{{2}}"))

    assert found and {problem.code for problem in found} <= REVIEWERS_REJECT
    assert all(problem.level is Level.WARNING for problem in found)


def test_a_link_variable_stays_numbered_among_named_ones() -> None:
    link = Button("URL", "Открыть", url="https://shop.example/{{1}}")

    assert codes(build_definition("Заказ {{order}} готов к выдаче", buttons=(link,))) == set()


def test_a_missing_example_names_the_variable_by_its_label() -> None:
    bare = TemplateDefinition("t", "ru", "Ваш заказ {{1}} готов", described=(Variable("1", label="Номер заказа"),))

    [problem] = validate(bare)

    assert problem.field == "variables.1.example"
    assert "Номер заказа" in str(problem.sentence)
