"""Import plan: what a file of templates would change, with word-by-word differences, before anything is written.

Invalid rows are refused with a reason and do not block valid ones. Provider IDs in a file are ignored: only the
provider's own list assigns them (``provider_sync``).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from django.db import DatabaseError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ApiChannel
from channels_setup.provisioning import AmbiguousName, find_by_number_or_name
from templates_registry import lifecycle
from templates_registry.content import graph_format
from templates_registry.content.components import Level, TemplateDefinition, Variable, merge_descriptions
from templates_registry.content.validation import validate
from templates_registry.lifecycle import ChangeAuthor
from templates_registry.matching.text_diff import ADDED, DiffPiece, diff_texts, diff_whole_texts, template_text
from templates_registry.models import Status, Template, variables_from_rows
from templates_registry.provider import provider_template
from templates_registry.provider.provider_template import InvalidTemplateData, ProviderTemplate

from . import file_formats
from .file_formats import FileRow

EVER_APPROVED = (Status.APPROVED, Status.PAUSED, Status.DISABLED, Status.ARCHIVED)

MAX_COMPARED = 200  # changed texts that are compared word by word; a page shows no more


class ChangeKind(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    REFUSED = "refused"

    @property
    def label(self) -> Any:
        return LABELS[self]


LABELS = {
    ChangeKind.NEW: pgettext_lazy("template in a file", "new"),
    ChangeKind.CHANGED: pgettext_lazy("template in a file", "changed"),
    ChangeKind.SAME: pgettext_lazy("template in a file", "the same"),
    ChangeKind.REFUSED: pgettext_lazy("template in a file", "refused"),
}


@dataclass
class PlanItem:
    """One row of the file, and what the import does with it."""

    number: int
    kind: ChangeKind
    name: str = ""
    language: str = ""
    sentences: list[str] = field(default_factory=list)  # errors of a refused row, else warnings
    text: tuple[DiffPiece, ...] = ()
    changes: list[tuple[str, str, str]] = field(default_factory=list)  # field, old value, new value
    channel: ApiChannel | None = None
    template: Template | None = None
    incoming: ProviderTemplate | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "row": self.number,
            "kind": self.kind.value,
            "name": self.name,
            "language": self.language,
            "channel": self.channel.pk if self.channel else None,
            "sentences": self.sentences,
            "text": [[piece.kind, piece.text] for piece in self.text],
            "changes": [{"field": name, "from": old, "to": new} for name, old, new in self.changes],
        }


@dataclass
class ImportPlan:
    items: list[PlanItem]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(item.kind for item in self.items)
        return {kind.value: found[kind] for kind in ChangeKind}

    @property
    def has_changes(self) -> bool:
        return any(item.kind in (ChangeKind.NEW, ChangeKind.CHANGED) for item in self.items)

    @property
    def fingerprint(self) -> str:
        """Hash of all changes. Plans with equal fingerprints write the same."""
        shown = json.dumps([item.as_json() for item in self.items], sort_keys=True, default=str)
        return hashlib.sha256(shown.encode()).hexdigest()


def build_plan(rows: Iterable[FileRow], *, api_channel: ApiChannel | None = None) -> ImportPlan:
    """Compare rows with the registry. ``api_channel`` overrides the channel that each row names."""
    return _Planner(api_channel).plan(rows)


class _Planner:
    def __init__(self, api_channel: ApiChannel | None) -> None:
        self._api_channel = api_channel
        self._channels_by_name: dict[str, ApiChannel] = {}
        self._existing: dict[int, dict[tuple[str, str], Template]] = {}
        self._seen: set[tuple[int, tuple[str, str]]] = set()
        self._compared = 0

    def plan(self, rows: Iterable[FileRow]) -> ImportPlan:
        return ImportPlan([self._item(row) for row in rows])

    def _item(self, row: FileRow) -> PlanItem:
        item = PlanItem(
            number=row.number,
            kind=ChangeKind.REFUSED,
            name=str(row.data.get("name") or "")[:100],
            language=str(row.data.get("language") or "")[:20],
        )
        try:
            if row.problem:
                raise InvalidTemplateData(row.problem)
            incoming = provider_template.parse_row(row.data)
            item.name, item.language = incoming.key
            item.channel = self._channel(row)
            self._check_unique(item.channel, incoming)
            item.template = self._templates(item.channel).get(incoming.key)
            item.incoming = self._merge(row, incoming, item.template)
            self._classify(row, item, item.incoming)
        except (InvalidTemplateData, graph_format.InvalidTemplate) as problem:
            item.kind, item.sentences = ChangeKind.REFUSED, [str(problem.sentence)]
        return item

    def _channel(self, row: FileRow) -> ApiChannel:
        if self._api_channel is not None:
            return self._api_channel
        text = str(row.data.get("channel") or "")
        if text not in self._channels_by_name:
            try:
                found = find_by_number_or_name(ApiChannel.objects.all(), text) if text else single_channel()
            except AmbiguousName as problem:
                raise InvalidTemplateData(str(problem)) from problem
            if found is None:
                raise InvalidTemplateData(
                    _("There is no API channel “%(name)s”.") % {"name": text}
                    if text
                    else _("The template's API channel is not specified.")
                )
            self._channels_by_name[text] = found
        return self._channels_by_name[text]

    def _check_unique(self, channel: ApiChannel, incoming: ProviderTemplate) -> None:
        key = (channel.pk, incoming.key)
        if key in self._seen:
            raise InvalidTemplateData(
                _("The file contains this name and language more than once. The first row is used.")
            )
        self._seen.add(key)

    def _templates(self, channel: ApiChannel) -> dict[tuple[str, str], Template]:
        if channel.pk not in self._existing:
            rows = Template.objects.filter(api_channel=channel)
            self._existing[channel.pk] = {(row.name, row.language): row for row in rows}
        return self._existing[channel.pk]

    def _merge(self, row: FileRow, incoming: ProviderTemplate, template: Template | None) -> ProviderTemplate:
        """Keep what the file does not contain: labels, hints, and what a table cannot express."""
        if template is None:
            return incoming
        definition = incoming.definition
        if file_formats.has_same_text(row, template):
            definition = template.definition
        elif row.cells is not None:
            definition = _keep_extras(definition, template.definition)
        definition = merge_descriptions(definition, variables_from_rows(template.variables))
        rows = row.data.get("variables")
        labels = variables_from_rows(each for each in rows if isinstance(each, dict)) if isinstance(rows, list) else []
        return replace(incoming, definition=merge_descriptions(definition, labels))

    def _classify(self, row: FileRow, item: PlanItem, incoming: ProviderTemplate) -> None:
        """Set the item's kind, sentences and differences."""
        problems = validate(incoming.definition)
        errors = [problem for problem in problems if problem.level is Level.ERROR]
        item.sentences = [str(problem.sentence) for problem in problems]
        approved_elsewhere = bool(row.data.get("id")) and incoming.status in EVER_APPROVED
        if errors and not approved_elsewhere:
            item.sentences = [str(problem.sentence) for problem in errors]
            return
        if item.template is None:
            item.kind = ChangeKind.NEW
            item.text = (DiffPiece(ADDED, template_text(incoming.definition)),)
            item.changes = [(str(_("status")), "", str(Status(incoming.status or Status.DRAFT).label))]
            return
        old = item.template
        reworded = lifecycle.is_reworded(old, incoming.definition)
        if reworded:
            self._compared += 1
            compare = diff_texts if self._compared <= MAX_COMPARED else diff_whole_texts
            item.text = compare(template_text(old.definition), template_text(incoming.definition))
        item.changes = [
            (str(name), before, after) for name, before, after in provider_template.describe_changes(old, incoming)
        ]
        item.changes += _describe_label_changes(old.definition.variables, incoming.definition.variables)
        if reworded and not incoming.status and old.status in lifecycle.REVIEWED_STATUSES:
            status = Status(old.status)
            item.changes.append((str(_("status")), str(status.label), str(Status.DRAFT.label)))
        item.kind = ChangeKind.CHANGED if reworded or item.changes else ChangeKind.SAME


def single_channel() -> ApiChannel | None:
    """Return the API channel if there is only one, else None."""
    found = list(ApiChannel.objects.unarchived()[:2])
    return found[0] if len(found) == 1 else None


def _keep_extras(definition: TemplateDefinition, old: TemplateDefinition) -> TemplateDefinition:
    """Copy to a definition from a table what tables do not contain, from the stored definition."""
    old_buttons = {file_formats.format_button(button): button for button in old.buttons}
    buttons = tuple(old_buttons.get(file_formats.format_button(button), button) for button in definition.buttons)
    header = definition.header
    if header and old.header and header.kind == old.header.kind:
        header = replace(header, handle=old.header.handle, extra=old.header.extra)
    extras = {name: getattr(old, name) for name in ("others", "offer", "cards", "body_extra", "order")}
    return replace(definition, header=header, buttons=buttons, **extras)


def _describe_label_changes(old: Sequence[Variable], new: Sequence[Variable]) -> list[tuple[str, str, str]]:
    before = {variable.key: variable for variable in old}
    names = {"label": _("label"), "example": _("example"), "hint": _("hint"), "default": _("default")}
    found = []
    for variable in new:
        previous = before.get(variable.key)
        for name, title in names.items() if previous else ():
            old_value, new_value = getattr(previous, name), getattr(variable, name)
            if old_value != new_value:
                found.append((f"{variable.title}: {title}", old_value, new_value))
    return found


@transaction.atomic
def apply_plan(plan: ImportPlan, *, by: ChangeAuthor) -> ImportPlan:
    """Write a plan. Return it with the rows that could not be written as refused."""
    new = [item for item in plan.items if item.kind == ChangeKind.NEW]
    try:
        with transaction.atomic():
            _write_new(new, by)
    except DatabaseError:  # one of them exists by now, so write them one by one
        for item in new:
            _write_or_refuse(item, by, lambda item, by: _write_new([item], by))
    for item in plan.items:
        if item.kind == ChangeKind.CHANGED:
            _write_or_refuse(item, by, _write_changed)
    return plan


def _write_or_refuse(item: PlanItem, by: ChangeAuthor, write: Callable[[PlanItem, ChangeAuthor], None]) -> None:
    try:
        with transaction.atomic():
            write(item, by)
    except DatabaseError:
        item.kind, item.template = ChangeKind.REFUSED, None
        item.sentences = [_("The template could not be saved because another change is in progress.")]


def _write_new(items: Sequence[PlanItem], by: ChangeAuthor) -> None:
    rows = [
        provider_template.build_template(item.incoming, api_channel_id=item.channel.pk)
        for item in items
        if item.incoming and item.channel
    ]
    for item, template in zip(items, lifecycle.create_many(rows, by=by), strict=True):
        item.template = template


def _write_changed(item: PlanItem, by: ChangeAuthor) -> None:
    assert item.template is not None and item.incoming is not None
    template, incoming = item.template, item.incoming
    # A file with a status reports what the provider decided on the new text.
    lifecycle.change_text(template, incoming.definition, by=by, approve_again=not incoming.status)
    provider_template.apply_state(template, incoming, by=by)
    if incoming.tags is not None and set(incoming.tags) != set(template.tags):
        template.tags = incoming.tags
        template.save(update_fields=["tags", "updated_at"])
