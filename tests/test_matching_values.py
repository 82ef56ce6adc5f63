"""Values of near misses: whole, or empty if uncertain, for every value × template × typing error."""

from __future__ import annotations

import itertools

import pytest

from templates_registry.content.components import Placeholder, TemplateDefinition, split_placeholders
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome

TEMPLATES = [
    "Здравствуйте! Ваш заказ {{1}} готов к выдаче.",
    "Здравствуйте снова, {{1}}! Ждём вас по адресу: {{2}}, вход со двора.",
    "Курьер привезёт заказ {{1}} по адресу {{2}}. Подготовьте паспорт, пожалуйста.",
    "Доставка по адресу «{{1}}» назначена на {{2}}.\nСпасибо за покупку!",
    "Адрес доставки: {{1}}.\nСумма: {{2}}.\nПолучатель: {{3}}.",
    "Your order {{1}} will be delivered to {{2}} tomorrow, please be at home.",
]
VALUES = [
    "Анна",
    "Лесная, 5",
    "ул. Лесная, д. 5, кв. 12",
    "№ 5 от 01.02",
    "г. Санкт-Петербург, Невский пр-т, д. 1/2, лит. А",
    "4 500,50 ₽ (без НДС)",
    "ООО «Ромашка»",
    "А. Б. Иванов-Петров",
    "21:00–22:30",
    "https://shop.example/a?b=1&c=2",
    "+7 (999) 123-45-67",
    "O'Neil, 5th Ave., apt. 12-B",
    "10% + 5",
]
SLIPS = {
    "letter": lambda words: [words[0][:2] + "ъ" + words[0][3:], *words[1:]],
    "word missing": lambda words: [*words[:1], *words[2:]],
    "word added": lambda words: ["Итак", *words],
    "case": lambda words: [words[0].swapcase(), *words[1:]],
    "last letter": lambda words: [*words[:-1], words[-1][:-2] + "ю" + words[-1][-1:]],
    "last sign missing": lambda words: [*words[:-1], words[-1][:-1]],
    "last sign changed": lambda words: [*words[:-1], words[-1][:-1] + "…"],
}


def filled(body: str, values: dict[str, str]) -> str:
    return "".join(values[one.name] if isinstance(one, Placeholder) else one for one in split_placeholders(body))


def slipped(body: str, slip: str) -> str:
    """Return the body with one typing error in its fixed words."""
    changed = SLIPS[slip](body.split(" "))
    return " ".join(changed)


@pytest.mark.parametrize(
    ("body", "slip"),
    [
        (body, slip)
        for body, slip in itertools.product(TEMPLATES, SLIPS)
        if not (slip == "last letter" and body.endswith("}}."))  # the error would be in the value
    ],
)
def test_near_miss_values_are_whole_or_empty(body: str, slip: str) -> None:
    template = TemplateDefinition("t", "ru", body)
    index = MatchIndex([IndexEntry(template)])
    recovered = total = 0
    for first, second in itertools.product(VALUES, VALUES):
        values = {"1": first, "2": second, "3": "Анна Петрова"}
        found = index.recognize(filled(slipped(body, slip), values))
        if found.outcome not in (MatchOutcome.NEAR_MISS, MatchOutcome.NOT_READY):
            continue
        for key, value in found.parameters.items():
            assert value == values[key], (found.parameters, values)
        recovered += len(found.parameters)
        total += len(template.variables)
    may_touch_a_value = slip == "word missing" or (slip == "last sign changed" and body.endswith("}}."))
    assert total
    assert recovered >= (0.4 if may_touch_a_value else 0.9) * total


@pytest.mark.parametrize(
    ("body", "text", "values"),
    [
        (
            "Ждём вас по адресу {{1}}, вход свободный.",
            "Ждем вас по адресу Лесная, 5, вход свободный.",
            {"1": "Лесная, 5"},
        ),
        ("Ваш адрес: {{1}}.", "Вашь адрес: ул. Лесная, д. 5, кв. 12.", {"1": "ул. Лесная, д. 5, кв. 12"}),
        ("Ваш договор {{1}} готов.", "Вашь договор № 5 от 01.02 готов.", {"1": "№ 5 от 01.02"}),
        ("Договор: {{1}}.", "Договор № 5 от 01.02.", {"1": "№ 5 от 01.02"}),
    ],
)
def test_values_with_punctuation(body: str, text: str, values: dict[str, str]) -> None:
    found = MatchIndex([IndexEntry(TemplateDefinition("t", "ru", body))]).recognize(text)

    assert found.outcome is MatchOutcome.NEAR_MISS
    assert found.parameters == values


def test_a_value_that_two_readings_share_is_left_empty() -> None:
    found = MatchIndex([IndexEntry(TemplateDefinition("t", "ru", "Адрес доставки заказа: {{1}}, {{2}}."))]).recognize(
        "Адресс доставки заказа: Лесная, 5, кв. 12."
    )

    assert found.outcome is MatchOutcome.NEAR_MISS
    assert found.parameters == {}


def test_two_different_values_of_one_variable_are_left_empty() -> None:
    found = MatchIndex(
        [IndexEntry(TemplateDefinition("t", "ru", "Здравствуйте, {{1}}! Ваш заказ готов, {{1}}."))]
    ).recognize("Здраствуйте, Анна! Ваш заказ готов, Ольга.")

    assert found.parameters == {}
