"""What a file of templates would change: a plan, with each difference word by word, before anything is written.

Rows that cannot be taken are refused with sentences and never keep the good ones out. A file gives no provider's ids:
only the provider itself does (``provider_sync``).
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
from templates_registry.matching.text_diff import DiffPiece, diff_texts, diff_whole_texts, template_text
from templates_registry.models import Status, Template, variables_from_rows
from templates_registry.provider import provider_template
from templates_registry.provider.provider_template import InvalidTemplateData, ProviderTemplate

from . import file_formats
from .file_formats import FileRow

EVER_APPROVED = (Status.APPROVED, Status.PAUSED, Status.DISABLED, Status.ARCHIVED)

MAX_COMPARED = 200  # changed texts compared word by word; a page shows no more


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
    """One row of the file and what becomes of it."""

    number: int
    kind: ChangeKind
    name: str = ""
    language: str = ""
    sentences: list[str] = field(default_factory=list)  # why it is refused, or what is unwise about it
    text: tuple[DiffPiece, ...] = ()
    facts: list[tuple[str, str, str]] = field(default_factory=list)  # what, from, to
    channel: ApiChannel | None = None
    template: Template | None = None
    listed: ProviderTemplate | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "row": self.number,
            "kind": self.kind.value,
            "name": self.name,
            "language": self.language,
            "channel": self.channel.pk if self.channel else None,
            "sentences": self.sentences,
            "text": [[piece.kind, piece.text] for piece in self.text],
            "changes": [{"what": what, "from": old, "to": new} for what, old, new in self.facts],
        }


@dataclass
class ImportPlan:
    items: list[PlanItem]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(item.kind for item in self.items)
        return {kind.value: found[kind] for kind in ChangeKind}

    @property
    def writes(self) -> bool:
        return any(item.kind in (ChangeKind.NEW, ChangeKind.CHANGED) for item in self.items)

    @property
    def fingerprint(self) -> str:
        """Equal for plans that would do the same: what was shown is what is written."""
        shown = json.dumps([item.as_json() for item in self.items], sort_keys=True, default=str)
        return hashlib.sha256(shown.encode()).hexdigest()


def build_plan(rows: Iterable[FileRow], *, api_channel: ApiChannel | None = None) -> ImportPlan:
    """What the rows would change. ``api_channel``: where they go, whatever they say; None: where each says."""
    return _Planner(api_channel).plan(rows)


class _Planner:
    def __init__(self, api_channel: ApiChannel | None) -> None:
        self._told = api_channel
        self._named: dict[str, ApiChannel] = {}
        self._ours: dict[int, dict[tuple[str, str], Template]] = {}
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
            one = provider_template.parse_row(row.data)
            item.name, item.language = one.key
            item.channel = self._channel(row)
            self._once(item.channel, one)
            item.template = self._of(item.channel).get(one.key)
            item.listed = self._merged(row, one, item.template)
            self._judge(row, item, item.listed)
        except (InvalidTemplateData, graph_format.InvalidTemplate) as problem:
            item.kind, item.sentences = ChangeKind.REFUSED, [str(problem.sentence)]
        return item

    def _channel(self, row: FileRow) -> ApiChannel:
        if self._told is not None:
            return self._told
        text = str(row.data.get("channel") or "")
        if text not in self._named:
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
            self._named[text] = found
        return self._named[text]

    def _once(self, channel: ApiChannel, one: ProviderTemplate) -> None:
        key = (channel.pk, one.key)
        if key in self._seen:
            raise InvalidTemplateData(
                _("The file contains this name and language more than once. The first row is used.")
            )
        self._seen.add(key)

    def _of(self, channel: ApiChannel) -> dict[tuple[str, str], Template]:
        if channel.pk not in self._ours:
            rows = Template.objects.filter(api_channel=channel)
            self._ours[channel.pk] = {(row.name, row.language): row for row in rows}
        return self._ours[channel.pk]

    def _merged(self, row: FileRow, one: ProviderTemplate, template: Template | None) -> ProviderTemplate:
        """What the file does not say stays as it is in the registry: labels, hints, and what a table cannot hold."""
        if template is None:
            return one
        pattern = one.pattern
        if file_formats.has_same_text(row, template):
            pattern = template.pattern
        elif row.cells is not None:
            pattern = _keep_extras(pattern, template.pattern)
        pattern = merge_descriptions(pattern, variables_from_rows(template.variables))
        said = row.data.get("variables")
        labels = variables_from_rows(each for each in said if isinstance(each, dict)) if isinstance(said, list) else []
        return replace(one, pattern=merge_descriptions(pattern, labels))

    def _judge(self, row: FileRow, item: PlanItem, one: ProviderTemplate) -> None:
        problems = validate(one.pattern)
        errors = [problem for problem in problems if problem.level is Level.ERROR]
        item.sentences = [str(problem.sentence) for problem in problems]
        approved_elsewhere = bool(row.data.get("id")) and one.status in EVER_APPROVED
        if errors and not approved_elsewhere:
            item.sentences = [str(problem.sentence) for problem in errors]
            return
        if item.template is None:
            item.kind = ChangeKind.NEW
            item.text = (DiffPiece("new", template_text(one.pattern)),)
            item.facts = [(str(_("status")), "", str(Status(one.status or Status.DRAFT).label))]
            return
        old = item.template
        reworded = lifecycle.is_reworded(old, one.pattern)
        if reworded:
            self._compared += 1
            compare = diff_texts if self._compared <= MAX_COMPARED else diff_whole_texts
            item.text = compare(template_text(old.pattern), template_text(one.pattern))
        item.facts = [
            (str(what), before, after) for what, before, after in provider_template.describe_changes(old, one)
        ]
        item.facts += _describe_label_changes(old.pattern.variables, one.pattern.variables)
        if reworded and not one.status and old.status in lifecycle.REVIEWED_STATUSES:
            status = Status(old.status)
            item.facts.append((str(_("status")), str(status.label), str(Status.DRAFT.label)))
        item.kind = ChangeKind.CHANGED if reworded or item.facts else ChangeKind.SAME


def single_channel() -> ApiChannel | None:
    """Where there is one channel, nobody has to name it."""
    found = list(ApiChannel.objects.all()[:2])
    return found[0] if len(found) == 1 else None


def _keep_extras(pattern: TemplateDefinition, old: TemplateDefinition) -> TemplateDefinition:
    """A pattern from a table, with what a table does not show taken from the present one."""
    kept = {file_formats.format_button(button): button for button in old.buttons}
    buttons = tuple(kept.get(file_formats.format_button(button), button) for button in pattern.buttons)
    header = pattern.header
    if header and old.header and header.kind == old.header.kind:
        header = replace(header, handle=old.header.handle, extra=old.header.extra)
    kept_parts = {name: getattr(old, name) for name in ("others", "offer", "cards", "body_extra", "order")}
    return replace(pattern, header=header, buttons=buttons, **kept_parts)


def _describe_label_changes(old: Sequence[Variable], new: Sequence[Variable]) -> list[tuple[str, str, str]]:
    before = {variable.key: variable for variable in old}
    names = {"label": _("label"), "example": _("example"), "hint": _("hint"), "default": _("default")}
    found = []
    for variable in new:
        was = before.get(variable.key)
        for name, title in names.items() if was else ():
            one, other = getattr(was, name), getattr(variable, name)
            if one != other:
                found.append((f"{variable.title}: {title}", one, other))
    return found


@transaction.atomic
def apply_plan(made: ImportPlan, *, by: ChangeAuthor) -> ImportPlan:
    """Write what the plan says; the same plan, with what could not be written refused."""
    new = [item for item in made.items if item.kind == ChangeKind.NEW]
    try:
        with transaction.atomic():
            _write_new(new, by)
    except DatabaseError:  # somebody has made one of them meanwhile: the others one by one
        for item in new:
            _write_or_refuse(item, by, lambda item, by: _write_new([item], by))
    for item in made.items:
        if item.kind == ChangeKind.CHANGED:
            _write_or_refuse(item, by, _write_changed)
    return made


def _write_or_refuse(item: PlanItem, by: ChangeAuthor, write: Callable[[PlanItem, ChangeAuthor], None]) -> None:
    try:
        with transaction.atomic():
            write(item, by)
    except DatabaseError:
        item.kind, item.template = ChangeKind.REFUSED, None
        item.sentences = [_("The template could not be saved because another change is in progress.")]


def _write_new(items: Sequence[PlanItem], by: ChangeAuthor) -> None:
    rows = [
        provider_template.build_template(item.listed, api_channel_id=item.channel.pk)
        for item in items
        if item.listed and item.channel
    ]
    for item, template in zip(items, lifecycle.create_many(rows, by=by), strict=True):
        item.template = template


def _write_changed(item: PlanItem, by: ChangeAuthor) -> None:
    assert item.template is not None and item.listed is not None
    template, one = item.template, item.listed
    # A file that says what the provider decided on the new text is believed.
    lifecycle.change_text(template, one.pattern, by=by, approve_again=not one.status)
    provider_template.apply_state(template, one, by=by)
    if one.tags is not None and set(one.tags) != set(template.tags):
        template.tags = one.tags
        template.save(update_fields=["tags", "updated_at"])
