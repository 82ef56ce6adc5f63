"""One template of a provider's list or of a file, and the changes that it makes to the registry.

Rows have the Graph API's format, with two keys of our own: ``variables`` (labels, hints, examples, defaults) and
``tags``. Missing keys change nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.values import as_text
from templates_registry import lifecycle
from templates_registry.content import graph_format
from templates_registry.content.components import TemplateDefinition
from templates_registry.lifecycle import ChangeAuthor
from templates_registry.models import Category, Quality, Status, Template, apply_variable_rows

MAX_ROW_CHARACTERS = 200_000  # characters of one template as JSON
MAX_TAG_LENGTH, MAX_TAGS = 40, 50


class InvalidTemplateData(ValueError):
    """A row or a file cannot be read. ``sentence`` explains the error to a person."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.sentence = sentence


@dataclass(frozen=True, kw_only=True)
class ProviderTemplate:
    """A parsed row. Empty fields, and None for ``tags``, mean that the row does not contain them."""

    definition: TemplateDefinition
    status: str = ""
    category: str = ""
    quality: str = ""
    reason: str = ""
    external_id: str = ""
    tags: list[str] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.definition.key


def parse_row(row: object) -> ProviderTemplate:
    """Parse one row of a list. Raise InvalidTemplateData if it cannot be read."""
    if not isinstance(row, dict):
        raise InvalidTemplateData(_("This is not a template: an object is expected."))
    if len(json.dumps(row)) > MAX_ROW_CHARACTERS:
        raise InvalidTemplateData(_("The template exceeds the size limit."))
    try:
        variables = row.get("variables")
        labels = [each for each in variables if isinstance(each, dict)] if isinstance(variables, list) else []
        definition = apply_variable_rows(graph_format.parse_template(row), labels)
    except graph_format.InvalidTemplate as problem:
        raise InvalidTemplateData(problem.sentence) from problem
    definition = replace(definition, name=definition.name.strip(), language=definition.language.strip())
    _check_lengths(definition)
    return ProviderTemplate(
        definition=definition,
        status=parse_status(row.get("status")),
        category=definition.category,
        quality=_parse_quality(row),
        reason=_parse_reason(row),
        external_id=as_text(row.get("id"))[:190],
        tags=_parse_tags(row),
    )


def parse_status(value: object) -> str:
    """Convert a provider's status to ours. Unrecognized ones become "unknown", empty ones stay empty."""
    text = as_text(value).strip().lower().replace(" ", "_")
    if not text:
        return ""
    return text if text in Status.values else Status.UNKNOWN


def describe_changes(template: Template, incoming: ProviderTemplate) -> list[tuple[Any, str, str]]:
    """Return the differences except the wording, as (name of the field, old value, new value)."""
    pairs = (
        (_("status"), template.status, incoming.status, Status),
        (_("category"), template.category, incoming.category, Category),
        (_("quality"), template.quality, incoming.quality, Quality),
    )
    found = [(name, _label(kind, old), _label(kind, new)) for name, old, new, kind in pairs if new and new != old]
    if incoming.tags is not None and set(incoming.tags) != set(template.tags):
        found.append((_("tags"), ", ".join(template.tags), ", ".join(incoming.tags)))
    return found


def build_template(incoming: ProviderTemplate, *, api_channel_id: int, external_id: str = "") -> Template:
    """Build a new ``Template``. ``lifecycle.create`` saves it."""
    template = Template(
        api_channel_id=api_channel_id,
        name=incoming.definition.name,
        language=incoming.definition.language,
        category=incoming.category or Category.UTILITY,
        requested_category=incoming.category,
        status=incoming.status or Status.DRAFT,
        quality=incoming.quality or Quality.UNKNOWN,
        reject_reason=incoming.reason if incoming.status == Status.REJECTED else "",
        external_id=external_id,
        provider_status=incoming.status if external_id else "",
        tags=incoming.tags or [],
    )
    template.set_definition(incoming.definition)
    return template


def apply_state(template: Template, incoming: ProviderTemplate, *, by: ChangeAuthor) -> bool:
    """Set status, category and quality as listed. Return whether anything changed."""
    changed = False
    if incoming.status and (incoming.status != template.status or incoming.reason):
        changed |= lifecycle.change_status(template, incoming.status, by=by, reason=incoming.reason)
    if incoming.category:
        changed |= lifecycle.change_category(template, incoming.category, by=by)
    if incoming.quality:
        changed |= lifecycle.change_quality(template, incoming.quality, by=by)
    return changed


def _label(kind: type[TextChoices], value: str) -> str:
    return str(kind(value).label) if value in kind.values else value


def _check_lengths(definition: TemplateDefinition) -> None:
    for name, value, limit in (
        (_("name"), definition.name, 512),
        (_("language"), definition.language, 20),
        (_("category"), definition.category, 40),
    ):
        if len(value) > limit:
            raise InvalidTemplateData(
                _("The %(name)s is longer than %(limit)s characters.") % {"name": name, "limit": limit}
            )
    if not definition.name:
        raise InvalidTemplateData(_("The template has no name."))
    if not definition.language:
        raise InvalidTemplateData(_("The template has no language."))


def _parse_quality(row: dict[str, Any]) -> str:
    value = row.get("quality_score", row.get("quality"))
    quality = as_text(value.get("score") if isinstance(value, dict) else value).strip().upper()
    return quality if quality in Quality.values else ""


def _parse_reason(row: dict[str, Any]) -> str:
    reason = as_text(row.get("rejected_reason")).strip()[:1000]
    return "" if reason.upper() == "NONE" else reason


def _parse_tags(row: dict[str, Any]) -> list[str] | None:
    values = row.get("tags")
    if not isinstance(values, list):
        return None
    tags = list(dict.fromkeys(as_text(tag).strip() for tag in values))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH for tag in tags):
        raise InvalidTemplateData(_("A tag can have at most %(limit)s characters.") % {"limit": MAX_TAG_LENGTH})
    return [tag for tag in tags if tag]
