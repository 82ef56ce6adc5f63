"""The relay's decision, as a value: what becomes of an operator's words, and on what ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import outcomes

TEXT, TEMPLATE, REFUSE = "text", "template", "refuse"


@dataclass(frozen=True, kw_only=True)
class ChosenTemplate:
    """A template with its values. ``parameters``: a list for numbered variables, an object for named ones."""

    id: int
    name: str
    language: str
    parameters: list[str] | dict[str, str]
    components: list[dict[str, Any]] = field(default_factory=list)  # the parameters as the provider's API takes them

    def as_json(self) -> dict[str, Any]:
        """What is kept with the message; events carry it without our own id and the provider's lists."""
        return {
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "parameters": self.parameters,
            "components": self.components,
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of the words.

    ``text`` is what goes out. ``reason`` is a code of ``outcomes`` and ``details`` what its sentence needs; ``ground``
    is what was true when it was decided. ``recognition`` is the registry's answer in full, where it was asked.
    """

    outcome: str
    text: str = ""
    reason: str = ""
    template: ChosenTemplate | None = None
    details: dict[str, Any] = field(default_factory=dict)
    ground: dict[str, Any] = field(default_factory=dict)
    recognition: dict[str, Any] | None = None

    @property
    def goes_out(self) -> bool:
        return self.outcome in (TEXT, TEMPLATE)

    @property
    def sentence(self) -> str:
        return outcomes.render_sentence(self.reason, self.details) if self.reason else ""
