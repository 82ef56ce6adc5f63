"""Linting of templates: adjacent variables, changed categories, collisions."""

from __future__ import annotations

import pytest
from django.utils import translation

from templates_registry.linting import lint_registry, lint_template
from templates_registry.matching.collisions import find_collisions
from tests.scenarios.template_definitions import build_definition


def test_adjacent_variables_are_reported() -> None:
    [problem] = lint_template(build_definition("Вас ждёт заказ {{1}}, {{2}} на складе"))

    assert problem.code == "ambiguous_variables"
    assert problem.details == {"first": "{{1}}", "second": "{{2}}", "between": ", "}


def test_a_changed_category_is_reported_with_both_names() -> None:
    [problem] = lint_template(build_definition(requested_category="UTILITY", category="MARKETING"))

    assert problem.code == "category_drift"
    with translation.override("ru"):
        assert "«сервисный»" in str(problem.sentence) and "«рекламный»" in str(problem.sentence)
    with translation.override("en"):
        assert "“utility”" in str(problem.sentence)
        assert "marketing" in str(problem.sentence)


def test_a_template_with_few_fixed_words_is_reported() -> None:
    assert "too_wide" in {problem.code for problem in lint_template(build_definition("Да: {{1}}!"))}


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
    first, second = build_definition(one, name="first"), build_definition(other, name="second")

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
    assert list(find_collisions([build_definition(one, name="first"), build_definition(other, name="second")])) == []


def test_unlikely_collisions_are_summarized_in_one_line() -> None:
    greeting, ending = "Здравствуйте, {{1}}! ", " {{3}}. Ждём вас в магазине!"
    one = build_definition(f"{greeting}Ваш заказ {{{{2}}}} уже готов и лежит на складе до{ending}", name="first")
    other = build_definition(
        f"{greeting}Оплата {{{{2}}}} получена полностью, чек придёт на почту{ending}", name="second"
    )

    [problem] = lint_template(one, others=[other])

    assert problem.code == "distant_collision"
    assert "second (ru)" in str(problem.sentence)


def test_header_or_footer_can_cause_a_collision_with_another_body() -> None:
    whole = build_definition("Ваш заказ {{1}} готов", name="first", footer="Ждём вас")
    body = build_definition("Ваш заказ {{1}} готов\nЖдём вас", name="second")

    [collision] = find_collisions([whole, body])

    assert collision.likely
    assert collision.text == "Ваш заказ … готов\nЖдём вас"
