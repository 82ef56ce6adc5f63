"""Template definitions for tests of validation and linting."""

from __future__ import annotations

from typing import Any

from templates_registry.content.components import TemplateDefinition, Variable, merge_descriptions


def build_definition(body: str = "Ваш заказ {{1}} готов к выдаче.", **fields: Any) -> TemplateDefinition:
    """Return a valid template, except for the given fields."""
    definition = TemplateDefinition(
        **({"name": "order_ready", "language": "ru", "category": "UTILITY", "body": body} | fields)
    )
    return merge_descriptions(definition, [Variable(variable.key, example="42") for variable in definition.variables])
