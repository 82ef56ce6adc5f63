"""One template as somebody lists it (a provider, a file), and what it changes in the registry's row.

The shape is the Graph API's, with two more keys of our own: ``variables`` (labels, hints, examples, defaults) and
``tags``. What a list does not say stays as it is.
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
    """What was listed cannot be taken. ``sentence`` says why."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.sentence = sentence


@dataclass(frozen=True, kw_only=True)
class ProviderTemplate:
    """An empty ``status``, ``quality`` and so on: the list does not say."""

    pattern: TemplateDefinition
    status: str = ""
    category: str = ""
    quality: str = ""
    reason: str = ""
    external_id: str = ""
    tags: list[str] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.pattern.key


def parse_row(row: object) -> ProviderTemplate:
    """One row of a list. Raises Unreadable."""
    if not isinstance(row, dict):
        raise InvalidTemplateData(_("This is not a template: an object is expected."))
    if len(json.dumps(row)) > MAX_ROW_CHARACTERS:
        raise InvalidTemplateData(_("The template exceeds the size limit."))
    try:
        said = row.get("variables")
        labels = [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []
        pattern = apply_variable_rows(graph_format.parse_template(row), labels)
    except graph_format.InvalidTemplate as problem:
        raise InvalidTemplateData(problem.sentence) from problem
    pattern = replace(pattern, name=pattern.name.strip(), language=pattern.language.strip())
    _check_lengths(pattern)
    return ProviderTemplate(
        pattern=pattern,
        status=parse_status(row.get("status")),
        category=pattern.category,
        quality=_parse_quality(row),
        reason=_parse_reason(row),
        external_id=as_text(row.get("id"))[:190],
        tags=_parse_tags(row),
    )


def parse_status(word: object) -> str:
    """A provider's or a person's word for a status as ours; a word that we do not know is "unknown", none is none."""
    text = as_text(word).strip().lower().replace(" ", "_")
    if not text:
        return ""
    return text if text in Status.values else Status.UNKNOWN


def describe_changes(template: Template, listed: ProviderTemplate) -> list[tuple[Any, str, str]]:
    """What besides the wording would change: name of the field, what it is, what it would be."""
    pairs = (
        (_("status"), template.status, listed.status, Status),
        (_("category"), template.category, listed.category, Category),
        (_("quality"), template.quality, listed.quality, Quality),
    )
    found = [(name, _label(kind, old), _label(kind, new)) for name, old, new, kind in pairs if new and new != old]
    if listed.tags is not None and set(listed.tags) != set(template.tags):
        found.append((_("tags"), ", ".join(template.tags), ", ".join(listed.tags)))
    return found


def build_template(listed: ProviderTemplate, *, api_channel_id: int, external_id: str = "") -> Template:
    """The row of a template that the registry does not have; for ``lifecycle.create`` to save."""
    template = Template(
        api_channel_id=api_channel_id,
        name=listed.pattern.name,
        language=listed.pattern.language,
        category=listed.category or Category.UTILITY,
        requested_category=listed.category,
        status=listed.status or Status.DRAFT,
        quality=listed.quality or Quality.UNKNOWN,
        reject_reason=listed.reason if listed.status == Status.REJECTED else "",
        external_id=external_id,
        provider_status=listed.status if external_id else "",
        tags=listed.tags or [],
    )
    template.set_definition(listed.pattern)
    return template


def apply_state(template: Template, listed: ProviderTemplate, *, by: ChangeAuthor) -> bool:
    """Status, category and quality as listed; whether anything changed."""
    changed = False
    if listed.status and (listed.status != template.status or listed.reason):
        changed |= lifecycle.change_status(template, listed.status, by=by, reason=listed.reason)
    if listed.category:
        changed |= lifecycle.change_category(template, listed.category, by=by)
    if listed.quality:
        changed |= lifecycle.change_quality(template, listed.quality, by=by)
    return changed


def _label(kind: type[TextChoices], value: str) -> str:
    return str(kind(value).label) if value in kind.values else value


def _check_lengths(pattern: TemplateDefinition) -> None:
    for name, value, limit in (
        (_("name"), pattern.name, 512),
        (_("language"), pattern.language, 20),
        (_("category"), pattern.category, 40),
    ):
        if len(value) > limit:
            raise InvalidTemplateData(
                _("The %(name)s is longer than %(limit)s characters.") % {"name": name, "limit": limit}
            )
    if not pattern.name:
        raise InvalidTemplateData(_("The template has no name."))
    if not pattern.language:
        raise InvalidTemplateData(_("The template has no language."))


def _parse_quality(row: dict[str, Any]) -> str:
    said = row.get("quality_score", row.get("quality"))
    word = as_text(said.get("score") if isinstance(said, dict) else said).strip().upper()
    return word if word in Quality.values else ""


def _parse_reason(row: dict[str, Any]) -> str:
    word = as_text(row.get("rejected_reason")).strip()[:1000]
    return "" if word.upper() == "NONE" else word


def _parse_tags(row: dict[str, Any]) -> list[str] | None:
    said = row.get("tags")
    if not isinstance(said, list):
        return None
    tags = list(dict.fromkeys(as_text(tag).strip() for tag in said))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH for tag in tags):
        raise InvalidTemplateData(_("A tag can have at most %(limit)s characters.") % {"limit": MAX_TAG_LENGTH})
    return [tag for tag in tags if tag]
