"""Matching of generated texts and templates, compared with a brute-force implementation."""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Iterator

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from templates_registry.content.components import (
    Header,
    Placeholder,
    TemplateDefinition,
    VariablePlace,
    split_placeholders,
    variable_key,
)
from templates_registry.content.leftover_placeholders import find_leftover
from templates_registry.content.normalization import NormalizedText, fold_text, normalize_text
from templates_registry.content.rendering import check_text_value
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry, MatchOutcome


def pieces(text: str, place: VariablePlace) -> tuple[list[str], list[str]]:
    found = split_placeholders(text)
    return (
        [fold_text(piece) for piece in found if isinstance(piece, str)],
        [variable_key(piece.name, place) for piece in found if isinstance(piece, Placeholder)],
    )


def compositions(template: TemplateDefinition) -> Iterator[tuple[list[str], list[str]]]:
    """Return the texts that can be pasted for a template: a simple second implementation."""
    for header, footer in itertools.product({"", template.header_text}, {"", template.footer}):
        whole, keys = pieces(template.body, VariablePlace.BODY)
        if header:
            parts, own = pieces(header, VariablePlace.HEADER)
            whole = [*parts[:-1], parts[-1].rstrip(" \n") + "\n" + whole[0].lstrip(" \n"), *whole[1:]]
            keys = own + keys
        if footer:
            whole[-1] = whole[-1].rstrip(" \n") + "\n" + fold_text(footer).lstrip(" \n")
        whole[0], whole[-1] = whole[0].lstrip(" \n"), whole[-1].rstrip(" \n")
        if len(whole) == 1:
            whole[0] = whole[0].strip(" \n")
        yield whole, keys


def ways(
    parts: list[str], keys: list[str], text: NormalizedText, at: int, values: dict[str, str]
) -> Iterator[dict[str, str]]:
    """Yield every reading of the text from ``at`` on, by brute force."""
    if not text.text.startswith(parts[0], at):
        return
    at += len(parts[0])
    if not keys:
        if at == len(text.text):
            yield values
        return
    for end in range(at + 1, len(text.text) + 1):
        value = text.text[at:end]
        if not check_text_value(text.value(at, end)) and values.get(keys[0], value) == value:
            yield from ways(parts[1:], keys[1:], text, end, values | {keys[0]: value})


def all_readings(templates: list[TemplateDefinition], text: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (one.name, frozenset(values.items()))
        for one in templates
        for parts, keys in compositions(one)
        for values in ways(parts, keys, normalize_text(text), 0, {})
    }


def assume_filled(templates: list[TemplateDefinition], readings: set[tuple[str, frozenset[tuple[str, str]]]]) -> None:
    """Exclude readings with a value like “{1}”, which is an unfilled placeholder."""
    named = {one.name: one for one in templates}
    for name, items in readings:
        values = dict(items)
        assume(not any(find_leftover(named[name], one, values[one.key]) for one in named[name].variables))


FIXED = st.sampled_from(
    ["", " ", "\n", ", ", "а", "аб", " аб ", "а б", "-", "«", "» ", ".", " - ", "заказ ", "{", "}", "\n\nа", "1"]
)
VALUE = (
    st.text(alphabet="аб 1,-.«{}\u00a0\u200d", min_size=1, max_size=4)
    .map(lambda value: value.strip(" \u00a0\u200d"))
    .filter(lambda value: bool(value) and not check_text_value(value))
)


@st.composite
def templates_and_values(draw: st.DrawFn) -> tuple[list[TemplateDefinition], TemplateDefinition, dict[str, str], bool]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        count = draw(st.integers(0, 3))
        names = [str(draw(st.integers(1, max(1, count)))) for _ in range(count)]
        body = "".join(draw(FIXED) + "{{" + name + "}}" for name in names) + draw(FIXED)
        assume(body.strip(" \n"))
        found.append(
            TemplateDefinition(
                f"t_{number}",
                "ru",
                body,
                header=Header(text="аб") if draw(st.booleans()) else None,
                footer=draw(st.sampled_from(["", "аб", "б\nа"])),
            )
        )
    chosen = draw(st.sampled_from(found))
    values = {variable.key: draw(VALUE) for variable in chosen.variables}
    return found, chosen, values, draw(st.booleans())


NOISE: list[tuple[str, str]] = [
    (" ", "\u00a0"),
    (" ", "  "),
    (" ", " \u200b"),
    ("\n", "\r\n"),
    ("\n", " \n\u200b\n"),
    ("-", "—"),
    ("«", "“"),
    ("а", "\u2060а\u2060"),
    ("«", "\u200b„"),
    (" ", "\u200b "),
    ("", ""),
]


@settings(max_examples=4 * settings().max_examples)
@given(templates_and_values(), st.sampled_from(NOISE), st.sampled_from(["", " ", "\n\u200b", "\ufeff"]))
def test_rendered_texts_match_or_are_truly_ambiguous(
    case: tuple[list[TemplateDefinition], TemplateDefinition, dict[str, str], bool], noise: tuple[str, str], edge: str
) -> None:
    found, chosen, values, whole = case

    def rough(fixed: str) -> str:
        return fixed.replace(*noise) if noise[0] else fixed

    def pasted(text: str, place: VariablePlace) -> str:
        return "".join(
            values[variable_key(piece.name, place)] if isinstance(piece, Placeholder) else rough(piece)
            for piece in split_placeholders(text)
        )

    body = pasted(chosen.body, VariablePlace.BODY)
    parts = [pasted(chosen.header_text, VariablePlace.HEADER), body, rough(chosen.footer)] if whole else [body]
    text = edge + "\n".join(part for part in parts if part) + edge
    names = {name for name, _, _ in normalize_text(text).unfilled}
    assume(not any(names & {variable.name for variable in one.variables} for one in found))
    answer = MatchIndex(IndexEntry(one) for one in found).recognize(text)
    readings = all_readings(found, text)
    assume_filled(found, readings)

    parameters = frozenset((key, fold_text(value)) for key, value in values.items())
    assert (chosen.name, parameters) in readings
    if len(readings) > 1:
        assert answer.outcome is MatchOutcome.AMBIGUOUS
        assert {entry.template.name for entry in answer.candidates} == {name for name, _ in readings}
    else:
        assert answer.outcome is MatchOutcome.TEMPLATE
        assert answer.entry is not None
        assert answer.entry.template is chosen
        assert answer.parameters == values


@settings(max_examples=4 * settings().max_examples)
@given(templates_and_values(), st.lists(st.sampled_from([*"аб 1,-.«\n\t{}", "     ", "аб"]), max_size=14).map("".join))
@example(([TemplateDefinition("t_0", "ru", "{{1}}а{{1}}")], TemplateDefinition("t_1", "ru", "а"), {}, True), "бабаа")
def test_any_text_matches_exactly_as_brute_force(
    case: tuple[list[TemplateDefinition], TemplateDefinition, dict[str, str], bool], text: str
) -> None:
    found = case[0]
    assume(not normalize_text(text).unfilled)

    answer = MatchIndex(IndexEntry(one) for one in found).recognize(text)
    readings = all_readings(found, text)
    assume_filled(found, readings)

    if len(readings) > 1:
        assert answer.outcome is MatchOutcome.AMBIGUOUS
    elif readings:
        [(name, parameters)] = readings
        assert answer.outcome is MatchOutcome.TEMPLATE
        assert answer.entry is not None
        assert answer.entry.template.name == name
        assert {(key, fold_text(value)) for key, value in answer.parameters.items()} == parameters
    else:
        assert answer.outcome in (MatchOutcome.NONE, MatchOutcome.NEAR_MISS, MatchOutcome.NOT_READY)


@settings(max_examples=3 * settings().max_examples)
@given(st.text(max_size=60), st.data())
def test_normalization_maps_every_position_to_the_original(raw: str, data: st.DataObject) -> None:
    text = normalize_text(raw)

    assert normalize_text(text.text).text == text.text or unicodedata.normalize("NFC", raw) != raw
    if text.text:
        cut = data.draw(st.integers(0, len(text.text)))
        left, right = text.value(0, cut), text.value(cut, len(text.text))
        assert left in raw
        assert right in raw
        assert text.value(0, len(text.text)) in raw


@settings(max_examples=2 * settings().max_examples)
@given(
    st.lists(st.sampled_from(["Ваш", "заказ", "{{1}}", "готов", ",", "№", "{{2}}", "!", "\n"]), max_size=9), st.text()
)
def test_any_text_has_a_serializable_result(words: list[str], text: str) -> None:
    template = TemplateDefinition("t", "ru", "Заказ: " + " ".join(words), footer="Ждём")
    index = MatchIndex(
        [IndexEntry(template), IndexEntry(TemplateDefinition("u", "ru", "Ваш {{1}} готов"), previous=True)]
    )

    for pasted in (text, "Заказ: " + text, " ".join(words), f"Ваш {text} готов"):
        answer = index.recognize(pasted).as_json()
        assert answer["reason"]
        json.dumps(answer)
