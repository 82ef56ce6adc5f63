"""Linting of templates: adjacent variables, changed categories, collisions."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import translation

from templates_registry.content.components import TemplateDefinition, Variable, merge_descriptions
from templates_registry.linting import lint_registry, lint_template
from templates_registry.matching.collisions import find_collisions


def template(body: str = "Ваш заказ {{1}} готов к выдаче.", **fields: Any) -> TemplateDefinition:
    """Return a valid template, except for the given fields."""
    definition = TemplateDefinition(
        **({"name": "order_ready", "language": "ru", "category": "UTILITY", "body": body} | fields)
    )
    return merge_descriptions(definition, [Variable(variable.key, example="42") for variable in definition.variables])


def test_adjacent_variables_are_reported() -> None:
    [problem] = lint_template(template("Вас ждёт заказ {{1}}, {{2}} на складе"))

    assert problem.code == "ambiguous_variables"
    assert problem.details == {"first": "{{1}}", "second": "{{2}}", "between": ", "}


def test_a_changed_category_is_reported_with_both_names() -> None:
    [problem] = lint_template(template(requested_category="UTILITY", category="MARKETING"))

    assert problem.code == "category_drift"
    with translation.override("ru"):
        assert "«сервисный»" in str(problem.sentence) and "«рекламный»" in str(problem.sentence)
    with translation.override("en"):
        assert "“utility”" in str(problem.sentence)
        assert "marketing" in str(problem.sentence)


def test_a_template_with_few_fixed_words_is_reported() -> None:
    assert "too_wide" in {problem.code for problem in lint_template(template("Да: {{1}}!"))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ваш заказ {{1}} готов", "Ваш {{1}} готов"),
        ("Здравствуйте, {{1}}", "Здравствуйте, {{1}}! Ваш заказ {{2}} готов"),
        ("Здравствуйте, {{1}}", "{{1}}, ваш заказ готов"),
        ("Заказ 5 готов", "Заказ {{1}} готов"),
        ("Заказ «{{1}}» готов", 'Заказ "{{1}}" готов'),
        ("Заказ {{1}} готов.\nЖдём {{2}}", "Заказ {{1}}\nЖдём {{2}}"),
        ("Заказ {{1}} и {{1}} готов", "Заказ {{1}} и {{2}} готов"),
    ],
)
def test_colliding_templates_name_each_other(one: str, other: str) -> None:
    first, second = template(one, name="first"), template(other, name="second")

    found = lint_registry([first, second])

    for key, name in ((first.key, "second"), (second.key, "first")):
        [problem] = [problem for problem in found[key] if problem.code == "collision"]
        assert name in str(problem.sentence)
    assert "collision" in {problem.code for problem in lint_template(first, others=[second])}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Заказ {{1}} готов", "Заказ {{1}} закрыт"),
        ("Заказ {{1}} готов", "Заявка {{1}} готов"),
        ("Заказ {{1}} готов", "Заказ {{1}} готов\nЖдём вас"),
        ("Заказ готов", "Заказ {{1}} готов"),
        ("Здравствуйте, {{1}}!\nЗаказ {{2}} готов", "Здравствуйте, {{1}}!\nОплата {{2}} готов"),
    ],
)
def test_templates_without_a_common_text_do_not_collide(one: str, other: str) -> None:
    assert list(find_collisions([template(one, name="first"), template(other, name="second")])) == []


def test_unlikely_collisions_are_summarized_in_one_line() -> None:
    greeting, ending = "Здравствуйте, {{1}}! ", " {{3}}. Ждём вас в магазине!"
    one = template(f"{greeting}Ваш заказ {{{{2}}}} уже готов и лежит на складе до{ending}", name="first")
    other = template(f"{greeting}Оплата {{{{2}}}} получена полностью, чек придёт на почту{ending}", name="second")

    [problem] = lint_template(one, others=[other])

    assert problem.code == "distant_collision"
    assert "second (ru)" in str(problem.sentence)


def test_header_or_footer_can_cause_a_collision_with_another_body() -> None:
    whole = template("Ваш заказ {{1}} готов", name="first", footer="Ждём вас")
    body = template("Ваш заказ {{1}} готов\nЖдём вас", name="second")

    [collision] = find_collisions([whole, body])

    assert collision.likely
    assert collision.text == "Ваш заказ … готов\nЖдём вас"
