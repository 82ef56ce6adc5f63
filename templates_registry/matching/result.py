"""Input and result of matching: ``IndexEntry`` and ``MatchResult``."""

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
    """Kind of a result; also ``outcome`` in the API."""

    TEMPLATE = "template"
    AMBIGUOUS = "ambiguous"
    NEAR_MISS = "near_miss"
    NOT_READY = "not_ready"
    NONE = "none"


class EntryRank(IntEnum):
    """Priority of an entry. Entries of the next rank count only if none of this rank matches."""

    CURRENT = 0
    UNSENDABLE = 1  # cannot be sent now: paused, not approved yet…
    PREVIOUS = 2  # an earlier approved version


@dataclass(frozen=True)
class IndexEntry:
    """A template text in the index.

    ``ident`` is the caller's ID (a primary key), shared by all versions of a template. ``unsendable_reason`` says why
    the template cannot be sent now; it is empty if it can. ``text_only``: the provider adds values for media and
    buttons itself, so pasted text is complete without them.
    """

    template: TemplateDefinition
    ident: Hashable = None
    previous: bool = False
    unsendable_reason: StrOrPromise = field(default="", compare=False)
    text_only: bool = False

    @property
    def rank(self) -> EntryRank:
        if self.previous:
            return EntryRank.PREVIOUS
        return EntryRank.UNSENDABLE if self.unsendable_reason else EntryRank.CURRENT

    @property
    def identity(self) -> Hashable:
        return self.template.key if self.ident is None else self.ident


@dataclass(frozen=True)
class MatchResult:
    """Result of matching one text.

    ``parameters`` are values by key, incomplete for outcomes other than "template". ``readings`` are two possible
    readings of one template, if these make the text ambiguous. ``retired``: the text is an earlier version of
    ``entry``; ``difference`` is between that version and the present one.
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
        """Return the result in the API's format."""
        template = self.entry.template if self.entry else None
        return {
            "outcome": self.outcome.value,
            "template": _name_and_language(template) if template else None,
            "parameters": template.arrange_values(self.parameters) if template else [],
            "candidates": [_name_and_language(candidate.template) for candidate in self.candidates],
            "difference": [{"approved": one.approved, "yours": one.yours} for one in self.difference],
            "retired": self.retired,
            "code": self.code,
            "reason": str(self.sentence),
        }


def build_result(
    outcome: MatchOutcome, code: str, entry: IndexEntry, details: Details | None = None, **fields: Any
) -> MatchResult:
    """Return a result about one template."""
    named: Details = {"name": entry.template.name, "language": entry.template.language}
    return MatchResult(outcome, code, named | (details or {}), entry, candidates=(entry,), **fields)


def _name_and_language(template: TemplateDefinition) -> dict[str, str]:
    return {"name": template.name, "language": template.language}
