"""Relay decision: whether and how an operator's reply is sent, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import outcomes

TEXT, TEMPLATE, REFUSE = "text", "template", "refuse"


@dataclass(frozen=True, kw_only=True)
class ChosenTemplate:
    """A template with its values. ``parameters``: a list for numbered variables, a dict for named ones."""

    id: int
    name: str
    language: str
    parameters: list[str] | dict[str, str]
    components: list[dict[str, Any]] = field(default_factory=list)  # parameters in the provider's format

    def as_json(self) -> dict[str, Any]:
        """Return the value of ``Message.template``. Events carry it without ``id`` and ``components``."""
        return {
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "parameters": self.parameters,
            "components": self.components,
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Decision about one reply.

    ``text``: the text to send. ``reason``: a code of ``outcomes``; ``details``: the values of its sentence.
    ``context``: the facts at the time of the decision, such as the window's state. ``recognition``: the complete result
    of template matching, if it ran.
    """

    outcome: str
    text: str = ""
    reason: str = ""
    template: ChosenTemplate | None = None
    details: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    recognition: dict[str, Any] | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the reply will be sent."""
        return self.outcome in (TEXT, TEMPLATE)

    @property
    def sentence(self) -> str:
        """The sentence of the refusal, or ""."""
        return outcomes.render_sentence(self.reason, self.details) if self.reason else ""
