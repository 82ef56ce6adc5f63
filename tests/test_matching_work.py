"""Work of matching, counted in function calls (see load/bench_matching.py for milliseconds)."""

from __future__ import annotations

from functools import partial

import pytest

from templates_registry.content.components import TemplateDefinition
from templates_registry.content.rendering import render
from templates_registry.matching.matcher import WORK_LIMIT, MatchIndex
from templates_registry.matching.patterns import WorkBudget
from templates_registry.matching.result import IndexEntry, MatchOutcome
from tests.load.bench_matching import adversarial_registries, make_registry, typical_texts, worst_case_texts
from tests.work import count_calls

pytestmark = pytest.mark.exhaustive


def _entry(body: str) -> IndexEntry:
    return IndexEntry(TemplateDefinition("t", "ru", body))


@pytest.fixture(scope="module")
def thousands() -> tuple[list[TemplateDefinition], MatchIndex]:
    templates = make_registry(6000)
    return templates, MatchIndex(IndexEntry(one) for one in templates)


def test_every_template_among_thousands_is_found(
    thousands: tuple[list[TemplateDefinition], MatchIndex],
) -> None:
    templates, index = thousands
    values = ["Анна Сергеевна", "№ 1024-77", "15 мая", "Лиговский пр. 50", "1250", "Boris"]

    for one in templates[::7]:
        rendering = render(one, dict(zip([v.key for v in one.variables], values, strict=False)))
        for text in (rendering.body, rendering.text):
            answer = index.recognize(text)
            assert one in [entry.template for entry in answer.candidates], text
            assert answer.outcome is MatchOutcome.TEMPLATE or len(answer.candidates) > 1


EVERYDAY, WORST = 6_000, 30_000  # calls; 10,000 take about 2 ms


def test_a_typical_text_among_thousands_takes_few_calls(
    thousands: tuple[list[TemplateDefinition], MatchIndex],
) -> None:
    templates, index = thousands

    for kind, texts in typical_texts(templates, size=60).items():
        counted = sorted(count_calls(partial(index.recognize, text)) for text in texts)
        assert counted[len(counted) // 2] < EVERYDAY, kind


def test_the_worst_text_among_thousands_takes_bounded_calls(
    thousands: tuple[list[TemplateDefinition], MatchIndex],
) -> None:
    templates, index = thousands

    for kind, texts in worst_case_texts(templates).items():
        for text in texts:
            assert count_calls(partial(index.recognize, text)) < WORST, kind


def test_an_intricate_registry_exceeds_the_budget_in_time() -> None:
    for kind, (templates, texts) in adversarial_registries(2000).items():
        index = MatchIndex(IndexEntry(one) for one in templates)
        for text in texts:
            budget = WorkBudget(WORK_LIMIT)
            assert count_calls(partial(index.recognize, text, budget=budget)) < WORST, kind
            assert budget.spent < 2 * WORK_LIMIT


@pytest.mark.parametrize(
    "unit", ["а", " а", "а б ", "{{1}}", "Здравствуйте, ", "Ваш заказ 1 готов. ", "\n", "а\n", "- "]
)
def test_twice_the_length_takes_at_most_about_twice_the_calls(
    thousands: tuple[list[TemplateDefinition], MatchIndex], unit: str
) -> None:
    _, index = thousands
    holes = "".join(f"{{{{{number}}}}}а " for number in range(1, 31))
    intricate = MatchIndex([_entry(f"а {holes}б"), _entry("{{1}} {{2}} {{1}} {{2}} конец")])

    def cost(one: MatchIndex, size: int) -> int:
        return count_calls(partial(one.recognize, (unit * 4096)[:size]))

    for one in (index, intricate):
        assert cost(one, 4000) < 2.5 * cost(one, 2000) + 3_000


def test_forty_variables_are_read_without_brute_force() -> None:
    holes = [f"{{{{{number}}}}}" for number in range(1, 41)]
    index = MatchIndex([_entry("а " + " а ".join(holes) + " б")])
    fits = "а " + " а ".join("значение" for _ in holes) + " б"
    almost = "а " * 500 + "в"

    assert index.recognize(fits).outcome is MatchOutcome.TEMPLATE
    assert index.recognize("а " * 200 + "б").outcome is MatchOutcome.AMBIGUOUS
    assert index.recognize(almost).outcome in (MatchOutcome.NONE, MatchOutcome.NEAR_MISS)
    assert max(count_calls(partial(index.recognize, text)) for text in (fits, almost)) < WORST
