"""Evaluation of the PromQL of our alert rules over made-up series, as `promtool test rules` does.

Numbers follow Prometheus, except that `rate` and `increase` do not extrapolate to the edges of the interval.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

LOOKBACK = 300.0
STEP = 60.0
Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
MATCHES = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "*": operator.mul,
    "+": operator.add,
    "-": operator.sub,
    "/": lambda a, b: a / b if b else float("nan"),
}


@dataclass(frozen=True)
class Series:
    name: str
    labels: Labels
    samples: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> list[Series]:
        """Read series in promtool's notation: ``metric{label="x"}`` → ``0+10x60`` or ``3x59 4``."""
        found = []
        for text, values in texts.items():
            name, _brace, labels = text.partition("{")
            pairs = frozenset(re.findall(r'(\w+)="([^"]*)"', labels))
            numbers = [number for word in values.split() for number in _expand(word)]
            found.append(cls(name, pairs, tuple((index * STEP, number) for index, number in enumerate(numbers))))
        return found


def _expand(word: str) -> list[float]:
    match = re.fullmatch(r"(-?\d+)(?:([+-]\d+))?(?:x(\d+))?", word)
    assert match is not None, word
    start, step, times = float(match[1]), float(match[2] or 0), int(match[3] or 0)
    return [start + step * index for index in range(times + 1)]


def evaluate(node: Any, series: list[Series], now: float) -> Any:
    """Return the value of an expression: a vector, or a number."""
    if isinstance(node, promql.NumberLiteral):
        return node.val
    if isinstance(node, promql.ParenExpr):
        return evaluate(node.expr, series, now)
    if isinstance(node, promql.VectorSelector):
        return _select(node, series, now)
    if isinstance(node, promql.AggregateExpr):
        return _aggregate(node, evaluate(node.expr, series, now))
    if isinstance(node, promql.Call):
        return _call(node, series, now)
    assert isinstance(node, promql.BinaryExpr), node
    return _combine(node, evaluate(node.lhs, series, now), evaluate(node.rhs, series, now))


def _find(selector: Any, series: list[Series]) -> list[Series]:
    tests: dict[str, Callable[[str, str], bool]] = {
        "=": lambda value, wanted: value == wanted,
        "!=": lambda value, wanted: value != wanted,
        "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
        "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
    }
    matchers = [(tests[MATCHES[str(each.op)]], each.name, each.value) for each in selector.matchers.matchers]
    return [
        one
        for one in series
        if one.name == selector.name
        and all(test(dict(one.labels).get(name, ""), value) for test, name, value in matchers)
    ]


def _select(selector: Any, series: list[Series], now: float) -> Vector:
    at = now - (selector.offset.total_seconds() if selector.offset else 0)
    vector = {}
    for one in _find(selector, series):
        recent = [value for time, value in one.samples if at - LOOKBACK < time <= at]
        if recent:
            vector[one.labels] = recent[-1]
    return vector


def _aggregate(node: Any, vector: Vector) -> Vector:
    text = str(node.prettify())
    kept = set(node.modifier.labels) if node.modifier else set()
    groups: dict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[frozenset(pair for pair in labels if pair[0] in kept)].append(value)
    function = {"sum": sum, "max": max, "min": min}[re.match(r"\w+", text)[0]]  # type: ignore[index]  # a word
    return {labels: function(values) for labels, values in groups.items()}


def _call(node: Any, series: list[Series], now: float) -> Vector:
    name = node.func.name
    if name == "histogram_quantile":
        return _quantile(node.args[0].val, evaluate(node.args[1], series, now))
    matrix = node.args[0]
    seconds = matrix.range.total_seconds()
    vector = {}
    for one in _find(matrix.vector_selector, series):
        points = [(time, value) for time, value in one.samples if now - seconds <= time <= now]
        if len(points) < 2:
            continue
        if name == "predict_linear":
            (first_time, first), (last_time, last) = points[0], points[-1]
            vector[one.labels] = last + (last - first) / (last_time - first_time) * evaluate(node.args[1], series, now)
            continue
        pairs = itertools.pairwise(points)
        grown = sum(after - before if after >= before else after for (_, before), (_, after) in pairs)
        vector[one.labels] = {"increase": grown, "rate": grown / seconds}[name]
    return vector


def _quantile(share: float, vector: Vector) -> Vector:
    histograms: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, value in vector.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        histograms[frozenset(pair for pair in labels if pair[0] != "le")].append((bound, value))
    found = {}
    for labels, buckets in histograms.items():
        buckets.sort()
        rank, lower, below = share * buckets[-1][1], 0.0, 0.0
        for bound, count in buckets:
            if count >= rank:
                is_open = bound == float("inf")
                found[labels] = (
                    lower if is_open else lower + (bound - lower) * (rank - below) / max(count - below, 1e-9)
                )
                break
            lower, below = bound, count
    return found


def _combine(node: Any, left: Any, right: Any) -> Any:
    sign = str(promql_operator(node))
    if not isinstance(left, dict) and not isinstance(right, dict):
        return ARITHMETIC[sign](left, right)
    if not isinstance(right, dict):
        if sign in COMPARISONS:
            return {labels: value for labels, value in left.items() if COMPARISONS[sign](value, right)}
        return {labels: ARITHMETIC[sign](value, right) for labels, value in left.items()}
    on = set(node.modifier.matching.labels) if node.modifier and node.modifier.matching else None

    def key(labels: Labels) -> Labels:
        return labels if on is None else frozenset(pair for pair in labels if pair[0] in on)

    others = {key(labels): value for labels, value in right.items()}
    pairs = [(labels, value, others[key(labels)]) for labels, value in left.items() if key(labels) in others]
    if sign == "and":
        return {labels: value for labels, value, _other in pairs}
    if sign in COMPARISONS:
        return {labels: value for labels, value, other in pairs if COMPARISONS[sign](value, other)}
    return {labels: ARITHMETIC[sign](value, other) for labels, value, other in pairs}


def promql_operator(node: Any) -> str:
    """Return the operator between the two sides of an expression. The parser has it as a number only."""
    operators = {promql.parse(f"a {sign} b").op: sign for sign in ("and", *COMPARISONS, *ARITHMETIC)}
    return next(sign for op, sign in operators.items() if str(op) == str(node.op))
