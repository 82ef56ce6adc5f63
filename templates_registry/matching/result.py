"""What the index knows (``IndexEntry``) and what it answers (``MatchResult``)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

from templates_registry import message_catalog
from templates_registry.content.components import TemplateDefinition

from .word_comparison import WordDifference

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    Details = dict[str, StrOrPromise | int]


class MatchOutcome(StrEnum):
    TEMPLATE = "template"
    AMBIGUOUS = "ambiguous"
    NEAR_MISS = "near_miss"
    NOT_READY = "not_ready"
    NONE = "none"


class EntryRank(IntEnum):
    """Which entries are asked first; those of the next rank only if none of this one fits."""

    CURRENT = 0
    ASLEEP = 1  # not to be sent now: paused, not yet approved…
    PREVIOUS = 2  # an earlier approved text


@dataclass(frozen=True)
class IndexEntry:
    """A text that the index knows. ``ident`` is the caller's own (a primary key), shared by all texts of a template.

    ``asleep`` says why it cannot be sent now, where that is so. ``text_only``: the provider adds media and what
    buttons need by itself, so a paste lacks nothing without them.
    """

    template: TemplateDefinition
    ident: Hashable = None
    previous: bool = False
    asleep: StrOrPromise = field(default="", compare=False)
    text_only: bool = False

    @property
    def rank(self) -> EntryRank:
        if self.previous:
            return EntryRank.PREVIOUS
        return EntryRank.ASLEEP if self.asleep else EntryRank.CURRENT

    @property
    def identity(self) -> Hashable:
        return self.template.key if self.ident is None else self.ident


@dataclass(frozen=True)
class MatchResult:
    """``parameters`` are by key; with any outcome but "template" only as far as they could be told.

    ``readings`` are two of the ways to read the values of one template, where these are ambiguous. ``retired``: the
    text is an earlier one of ``entry``, whose present text is to be offered; ``difference`` is between the two.
    """

    outcome: MatchOutcome
    code: str
    details: Details = field(default_factory=dict)
    entry: IndexEntry | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    candidates: tuple[IndexEntry, ...] = ()
    readings: tuple[dict[str, str], ...] = ()
    difference: tuple[WordDifference, ...] = ()
    retired: bool = False

    @property
    def sentence(self) -> StrOrPromise:
        return message_catalog.render_sentence(self.code, self.details)

    def as_json(self) -> dict[str, Any]:
        """The answer of the API."""
        template = self.entry.template if self.entry else None
        return {
            "outcome": self.outcome.value,
            "template": _identity(template) if template else None,
            "parameters": template.arrange(self.parameters) if template else [],
            "candidates": [_identity(candidate.template) for candidate in self.candidates],
            "difference": [{"approved": one.approved, "yours": one.yours} for one in self.difference],
            "retired": self.retired,
            "code": self.code,
            "reason": str(self.sentence),
        }


def build_result(
    outcome: MatchOutcome, code: str, entry: IndexEntry, details: Details | None = None, **fields: Any
) -> MatchResult:
    """An answer about one template."""
    named: Details = {"name": entry.template.name, "language": entry.template.language}
    return MatchResult(outcome, code, named | (details or {}), entry, candidates=(entry,), **fields)


def _identity(template: TemplateDefinition) -> dict[str, str]:
    return {"name": template.name, "language": template.language}
