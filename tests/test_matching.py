"""Matching of pasted text: template and values, or the reason for none."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from templates_registry.content.components import Button, Header, ParameterFormat, TemplateDefinition, Variable
from templates_registry.content.normalization import fold_text
from templates_registry.content.rendering import render
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome, MatchResult
from templates_registry.matching.word_comparison import WordDifference


def template(body: str, name: str = "order_ready", language: str = "ru", **fields: Any) -> TemplateDefinition:
    return TemplateDefinition(name, language, body, **fields)


def recognize(text: str, *templates: TemplateDefinition | IndexEntry) -> MatchResult:
    return MatchIndex(one if isinstance(one, IndexEntry) else IndexEntry(one) for one in templates).recognize(text)


ORDER = template(
    "Здравствуйте, {{1}}! Ваш заказ «{{2}}» готов — ждём вас.\nПриходите до {{3}}.",
    described=(Variable("1", label="Имя клиента"),),
)
OTHERS = (
    template("Здравствуйте, {{1}}! Оплата {{2}} прошла.", "paid"),
    template("Hello {{name}}, your order {{order}} is ready.", "order_ready", "en", format=ParameterFormat.NAMED),
    template("Мы ответили на ваш вопрос. Напишите нам, чтобы прочесть ответ.", "we_answered"),
)
PASTED = "Здравствуйте, Анна! Ваш заказ «№ 42» готов — ждём вас.\nПриходите до 21:00."
VALUES = {"1": "Анна", "2": "№ 42", "3": "21:00"}


# exactly one


def test_pasted_text_is_recognized_with_its_values() -> None:
    found = recognize(PASTED, ORDER, *OTHERS)

    assert found.outcome is MatchOutcome.TEMPLATE
    assert found.entry is not None
    assert found.entry.template is ORDER
    assert found.parameters == VALUES


@pytest.mark.parametrize(
    "noise",
    [
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace(" ", "\u202f"),
        lambda text: text.replace(" ", "  "),
        lambda text: text.replace(" ", " \u200b"),
        lambda text: "\u200b".join(text),
        lambda text: f"\ufeff \n {text} \r\n\u00a0",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\u2028"),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.replace("\n", "\n\n  \n"),
        lambda text: text.replace("«", '"').replace("»", '"'),
        lambda text: text.replace("«", "„").replace("»", "“"),
        lambda text: text.replace("—", "-"),
        lambda text: text.replace("—", "–"),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.replace("заказ", "за\u00adказ"),
    ],
)
def test_meaningless_differences_are_ignored(noise: Callable[[str], str]) -> None:
    found = recognize(noise(PASTED), ORDER, *OTHERS)

    assert found.outcome is MatchOutcome.TEMPLATE
    assert found.entry is not None
    assert found.entry.template is ORDER
    assert {key: fold_text(value) for key, value in found.parameters.items()} == VALUES


@pytest.mark.parametrize(
    "value",
    [
        "Анна-Мария «Ася»",
        "№\u00a042 — срочно",
        "д’Артаньян",
        "а  б   в    г",
        "👩\u200d🚒 ❤\ufe0f",
        unicodedata.normalize("NFD", "Алёна Йод"),
        "[2] {2}",
        "{1} {другое} {",
        "*Анна* _x_ \\1 (.*) $",
        "a\u200bb",
    ],
)
def test_a_value_keeps_the_operators_characters(value: str) -> None:
    text = "  " + PASTED.replace("Анна", value).replace(" готов", "\u00a0готов").replace("\n", "\r\n")

    found = recognize(text, ORDER, *OTHERS)

    assert found.outcome is MatchOutcome.TEMPLATE
    assert found.parameters == VALUES | {"1": value}


def test_fixed_parts_are_exact_and_anchored_at_both_ends() -> None:
    for text in (
        PASTED + " До встречи!",
        "Привет. " + PASTED,
        PASTED[:-1],
        PASTED.replace("готов", "Готов"),
        PASTED.replace("ждём", "ждем"),
    ):
        found = recognize(text, ORDER, *OTHERS)
        assert found.outcome is MatchOutcome.NEAR_MISS, text


def test_the_text_decides_the_language() -> None:
    found = recognize("Hello Anna, your order 42 is ready.", ORDER, *OTHERS)

    assert found.entry is not None
    assert found.entry.template.key == ("order_ready", "en")
    assert found.parameters == {"name": "Anna", "order": "42"}


def test_a_text_without_variables_is_recognized() -> None:
    text = "Мы ответили на ваш вопрос.  Напишите нам, чтобы прочесть ответ. "

    assert recognize(text, ORDER, *OTHERS).outcome is MatchOutcome.TEMPLATE


def test_a_repeated_variable_has_one_value() -> None:
    twice = template("{{1}}, заказ {{2}} ваш. Спасибо, {{1}}!")

    assert recognize("Анна, заказ 42 ваш. Спасибо, Анна!", twice).parameters == {"1": "Анна", "2": "42"}
    differing = recognize("Анна, заказ 42 ваш. Спасибо, Аня!", twice)
    assert differing.outcome is MatchOutcome.NOT_READY
    assert differing.code == "values_differ"


def test_a_repeated_variable_can_resolve_an_ambiguity() -> None:
    found = recognize("а и б и в и а и б", template("{{1}} и {{2}} и {{1}}"))

    assert found.parameters == {"1": "а и б", "2": "в"}


def test_header_and_footer_are_optional_in_a_paste() -> None:
    whole = template("Ваш заказ {{1}} готов.", header=Header(text="Магазин {{1}}"), footer="Ждём вас")
    default = Variable("header.1", label="Город", default="на Лиговском")
    filled = template(whole.body, header=whole.header, footer=whole.footer, described=(default,))

    for text in ("Магазин СПб\nВаш заказ 42 готов.\nЖдём вас", "Магазин СПб\n\nВаш заказ 42 готов."):
        assert recognize(text, whole).parameters == {"header.1": "СПб", "1": "42"}
    without = recognize("Ваш заказ 42 готов.\nЖдём вас", whole)
    assert (without.outcome, without.code) == (MatchOutcome.NOT_READY, "not_carried")
    assert recognize("Ваш заказ 42 готов.", filled).parameters == {"header.1": "на Лиговском", "1": "42"}


def test_values_outside_the_text_are_required_unless_provider_adds_them() -> None:
    link = Button("URL", "Открыть", url="https://shop.example/{{1}}")
    rich = template("Ваш заказ {{1}} готов.", header=Header("IMAGE"), buttons=(link,))

    lacking = recognize("Ваш заказ 42 готов.", rich)
    whole = recognize("Ваш заказ 42 готов.", IndexEntry(rich, text_only=True))

    assert (lacking.outcome, lacking.code) == (MatchOutcome.NOT_READY, "not_carried")
    assert lacking.parameters == {"1": "42"}
    assert (whole.outcome, whole.parameters) == (MatchOutcome.TEMPLATE, {"1": "42"})


# ambiguous


def test_two_matching_templates_are_ambiguous() -> None:
    one, other = template("Ваш заказ {{1}} готов", "one"), template("Ваш {{1}} готов", "other")

    found = recognize("Ваш заказ 42 готов", one, other)

    assert found.outcome is MatchOutcome.AMBIGUOUS
    assert found.entry is None
    assert {entry.template.name for entry in found.candidates} == {"one", "other"}
    assert found.parameters == {}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{{1}} {{2}} ждёт", "Анна Мария Иванова ждёт"),
        ("Заказ {{1}}, {{2}} готов", "Заказ 1, 2, 3 готов"),
        ("{{1}}, здравствуйте, {{2}}", "Анна, здравствуйте, Боря, здравствуйте, Вера"),
        ("Заказ {{1}}{{2}} готов", "Заказ 421 готов"),
        ("Код {{1}}-{{2}}", "Код 1—2–3"),
    ],
)
def test_two_readings_of_values_are_ambiguous(body: str, text: str) -> None:
    found = recognize(text, template(body))

    assert (found.outcome, found.code) == (MatchOutcome.AMBIGUOUS, "several_readings")
    assert len(found.readings) == 2
    assert found.readings[0] != found.readings[1]
    assert found.candidates == (found.entry,)
    for reading in found.readings:
        assert fold_text(render(template(body), reading).body) == fold_text(text)


def test_illegal_values_resolve_seeming_ambiguity() -> None:
    lines = template("Заказ {{1}}\nдля {{2}}")

    assert recognize("Заказ 42\nдля Анны", lines).outcome is MatchOutcome.TEMPLATE
    assert recognize("Код 1 2", template("Код {{1}} {{2}}")).parameters == {"1": "1", "2": "2"}
    two = template("{{1}} и {{2}}")
    assert recognize("а     и и б", two).parameters == {"1": "а", "2": "и б"}
    assert recognize("а и б и     в", two).parameters == {"1": "а и б", "2": "в"}
    assert recognize("а и б и\tв", two).parameters == {"1": "а и б", "2": "в"}


# not ready


@pytest.mark.parametrize(
    ("change", "code", "variable"),
    [
        (("Анна", "{{1}}"), "placeholder", "Имя клиента"),
        (("Анна", "{{ 1 }}"), "placeholder", "Имя клиента"),
        (("№ 42", "№ {{2}}"), "placeholder", "{{2}}"),
        (("Анна", "Анна\nСергеевна"), "newline", "Имя клиента"),
        (("№ 42", "№\t42"), "tab", "{{2}}"),
        (("№ 42", "№     42"), "spaces", "{{2}}"),
        (("Анна", ""), "empty", "Имя клиента"),
        (("№ 42", " "), "empty", "{{2}}"),
    ],
)
def test_an_illegal_value_is_named(change: tuple[str, str], code: str, variable: str) -> None:
    found = recognize(PASTED.replace(*change), ORDER, *OTHERS)

    assert (found.outcome, found.code) == (MatchOutcome.NOT_READY, code)
    assert found.entry is not None
    assert found.entry.template is ORDER
    assert variable in str(found.sentence)


def test_an_unedited_template_text_is_not_ready_and_has_no_values() -> None:
    found = recognize(ORDER.body, ORDER, *OTHERS)

    assert (found.outcome, found.code, found.parameters) == (MatchOutcome.NOT_READY, "placeholder", {})


@pytest.mark.parametrize("text", ["Вас ждёт {{1}}{{2}}", "Вас ждёт {{1}}Боря", "Вас ждёт {{ 1 }}Боря"])
def test_a_placeholder_is_never_split(text: str) -> None:
    found = recognize(text, template("Вас ждёт {{1}}{{2}}"))

    assert found.outcome is not MatchOutcome.TEMPLATE


def test_a_placeholder_with_spaces_is_not_two_values() -> None:
    found = recognize("Вас ждёт {{ 1 }} Боря", template("Вас ждёт {{1}} {{2}}"))

    assert (found.outcome, found.code) == (MatchOutcome.NOT_READY, "placeholder")


def test_a_text_too_long_with_its_values_is_not_ready() -> None:
    found = recognize("Заказ " + "я" * 1020 + " готов", template("Заказ {{1}} готов"))

    assert (found.outcome, found.code) == (MatchOutcome.NOT_READY, "rendered_too_long")


def test_a_paused_template_is_recognized_but_not_ready() -> None:
    paused = IndexEntry(ORDER, unsendable_reason="WhatsApp has paused it")

    found = recognize(PASTED, paused, *OTHERS)

    assert (found.outcome, found.code) == (MatchOutcome.NOT_READY, "not_sendable")
    assert "WhatsApp has paused it" in str(found.sentence)
    assert recognize(PASTED, paused, IndexEntry(template(ORDER.body, "again"))).outcome is MatchOutcome.TEMPLATE


# previous texts


def test_a_previous_text_offers_the_present_one() -> None:
    new, old = template("Ваш заказ {{1}} готов к выдаче."), template("Ваш заказ {{1}} собран к выдаче.")
    entries = [IndexEntry(new, ident=7), IndexEntry(old, ident=7, previous=True)]

    found = recognize("Ваш заказ 42 собран к выдаче.", *entries)

    assert found.outcome is MatchOutcome.NEAR_MISS
    assert found.retired
    assert found.entry is entries[0]
    assert found.parameters == {"1": "42"}
    assert found.difference == (WordDifference("готов", "собран"),)


def test_a_previous_text_with_unclear_values_offers_the_present_one() -> None:
    new, old = template("Вас, {{1}}, ждёт ваш заказ {{2}}."), template("{{1}} {{2}}, вас ждёт ваш заказ.")
    entries = [IndexEntry(new, ident=7), IndexEntry(old, ident=7, previous=True)]

    unedited = recognize("{{1}} Иванова, вас ждёт ваш заказ.", *entries)
    unclear = recognize("Анна Мария Иванова, вас ждёт ваш заказ.", *entries)

    assert (unedited.outcome, unedited.code, unedited.parameters) == (
        MatchOutcome.NOT_READY,
        "placeholder",
        {"2": "Иванова"},
    )
    assert (unclear.outcome, unclear.code, unclear.parameters) == (MatchOutcome.NEAR_MISS, "previous_text", {})
    for found in (unedited, unclear):
        assert found.retired
        assert found.entry is entries[0]


def test_a_present_text_takes_precedence_over_a_previous_one() -> None:
    now, once = template("Ваш заказ {{1}} готов.", "now"), template("Ваш заказ {{1}} готов.", "once")

    found = recognize(
        "Ваш заказ 42 готов.", IndexEntry(once, ident=1, previous=True), IndexEntry(template("Иначе"), ident=1), now
    )

    assert found.outcome is MatchOutcome.TEMPLATE
    assert found.entry is not None
    assert found.entry.template is now


def test_a_previous_text_of_a_deleted_template_is_not_ready() -> None:
    found = recognize("Ваш заказ 42 готов.", IndexEntry(template("Ваш заказ {{1}} готов."), ident=1, previous=True))

    assert (found.outcome, found.code, found.retired) == (MatchOutcome.NOT_READY, "withdrawn_text", True)


# near misses


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("готов", "готово"), [("готов", "готово")]),
        (("готов —", "—"), [("готов", "")]),
        (("ждём вас", "ждём вас скоро"), [("", "скоро")]),
        (("Здравствуйте", "Здраствуйте"), [("Здравствуйте", "Здраствуйте")]),
        (("Ваш заказ", "Заказ ваш"), None),
        (("вас.", "вас!"), [(".", "!")]),
        (("готов — ждём", "готов -ждём"), [("- ждём", "-ждём")]),
        (("до 21:00.", "до 21:00. Спасибо!"), [("", "Спасибо!")]),
    ],
)
def test_a_near_miss_names_the_template_and_differing_words(
    change: tuple[str, str], difference: list[tuple[str, str]] | None
) -> None:
    found = recognize(PASTED.replace(*change), ORDER, *OTHERS)

    assert found.outcome is MatchOutcome.NEAR_MISS
    assert found.entry is not None
    assert found.entry.template is ORDER
    assert found.parameters == VALUES
    if difference is not None:
        assert [(one.approved, one.yours) for one in found.difference] == difference


def test_a_changed_word_next_to_a_value_is_not_part_of_it() -> None:
    found = recognize("Ваш заказ 42 готово к выдаче", template("Ваш заказ {{1}} готов к выдаче"))

    assert found.parameters == {"1": "42"}
    assert found.difference == (WordDifference("готов", "готово"),)


def test_a_difference_of_spaces_only_is_shown() -> None:
    found = recognize("Ваш заказ№42 готов.", template("Ваш заказ №{{1}} готов."))

    assert found.outcome is MatchOutcome.NEAR_MISS
    assert found.difference


@pytest.mark.parametrize(
    "text",
    [
        "Добрый день, спасибо за ожидание, сейчас уточню у коллег и вернусь с ответом.",
        "Ок",
        "👍",
        "{{1}}",
        "...",
        "Здравствуйте, Анна! К сожалению, на складе сегодня пусто, давайте подберём замену и оформим завтра.",
    ],
)
def test_an_ordinary_reply_matches_nothing(text: str) -> None:
    assert recognize(text, ORDER, *OTHERS).outcome is MatchOutcome.NONE


def test_empty_and_overlong_texts_have_their_own_codes() -> None:
    assert recognize(" \u200b\n", ORDER).code == "no_text"
    assert recognize("а" * 4097, ORDER).code == "longer_than_any"
    assert recognize("Привет").outcome is MatchOutcome.NONE


def test_a_match_result_is_serializable() -> None:
    named = recognize("Hello Anna, your order 42 is ready.", *OTHERS).as_json()
    near = recognize(PASTED.replace("готов", "готово"), ORDER, *OTHERS).as_json()

    assert named["outcome"] == "template"
    assert named["template"] == {"name": "order_ready", "language": "en"}
    assert named["parameters"] == {"name": "Anna", "order": "42"}
    assert near["parameters"] == ["Анна", "№ 42", "21:00"]
    assert near["difference"] == [{"approved": "готов", "yours": "готово"}]
    assert near["reason"]
    json.dumps([named, near])
