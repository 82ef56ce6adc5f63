"""Changes of a template and their records: each change is an event, and each text is a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from channels_setup.models import known_secrets

from .content.components import TemplateDefinition
from .content.graph_format import InvalidTemplate
from .matching.text_diff import content_key
from .models import Registry, Status, Template, TemplateEvent, TemplateUse, TemplateVersion, variables_to_rows

Source = TemplateEvent.Source
BATCH_SIZE = 500  # rows per statement

# Statuses that the provider assigned to the submitted text. A text changed here has to be approved again.
REVIEWED_STATUSES = (
    *(Status.PENDING, Status.APPROVED, Status.REJECTED, Status.PAUSED, Status.DISABLED, Status.IN_APPEAL),
    *(Status.LIMIT_EXCEEDED, Status.UNKNOWN),
)


@dataclass(frozen=True, kw_only=True)
class ChangeAuthor:
    """Who or what makes a change: a ``TemplateEvent.Source`` and, for manual changes, the user."""

    source: str
    user: Any = None


def create(template: Template, *, by: ChangeAuthor, reason: str = "") -> Template:
    """Save a new template with its first version and its first event."""
    return create_many([template], by=by, reason=reason)[0]


@transaction.atomic
def create_many(templates: Sequence[Template], *, by: ChangeAuthor, reason: str = "") -> list[Template]:
    """Save many new templates in a few statements: an account may have thousands."""
    now = timezone.now()
    for template in templates:
        template.update_missing_parts()
        if template.status == Status.PENDING:
            template.submitted_at = template.submitted_at or now
        if template.status == Status.APPROVED:
            template.approved_at = template.approved_at or now
    rows = Template.objects.bulk_create(templates, batch_size=BATCH_SIZE)
    TemplateVersion.objects.bulk_create((_build_version(each, number=1, by=by) for each in rows), batch_size=BATCH_SIZE)
    events = (_build_event(each, by=by, kind="status", to_status=each.status, reason=reason) for each in rows)
    TemplateEvent.objects.bulk_create(events, batch_size=BATCH_SIZE)
    for api_channel_id in {each.api_channel_id for each in rows}:
        Registry.bump_version(api_channel_id)
    return rows


@transaction.atomic
def change_text(
    template: Template, definition: TemplateDefinition, *, by: ChangeAuthor, approve_again: bool | None = None
) -> bool:
    """Replace a template's text and keep the previous one as a version. Return whether the wording changed.

    A manual or imported change of a reviewed text makes it a draft again; ``approve_again`` overrides this. Labels,
    examples, hints and defaults can change without a new approval.
    """
    locked = Template.objects.select_for_update().get(pk=template.pk)
    text_changed = is_reworded(locked, definition)
    if text_changed:
        locked.set_definition(definition)
    else:
        locked.variables = variables_to_rows(definition.variables)
    locked.save(update_fields=["components", "parameter_format", "variables", "updated_at"])
    if text_changed:
        _save_version(locked, by=by)
        record_event(locked, by=by, kind="text", from_status=locked.status, to_status=locked.status)
        again = by.source in (Source.MANUAL, Source.IMPORT) if approve_again is None else approve_again
        if again and locked.status in REVIEWED_STATUSES:
            change_status(locked, Status.DRAFT, by=by)
    Registry.bump_version(locked.api_channel_id)
    template.refresh_from_db()
    template.__dict__.pop("definition", None)
    return text_changed


def is_reworded(template: Template, definition: TemplateDefinition) -> bool:
    """Return whether the wording differs from the stored one; True if the stored components are broken."""
    try:
        return content_key(template.definition) != content_key(definition)
    except InvalidTemplate:
        return True


@transaction.atomic
def change_status(template: Template, status: str, *, by: ChangeAuthor, reason: str = "") -> bool:
    """Set the status and record the event. Return whether anything changed.

    ``reason`` is the provider's or the user's text.
    """
    # Compare the text as it is stored, that is redacted. Otherwise every sync would see another reason.
    reason = known_secrets.redact(str(reason))
    locked = Template.objects.select_for_update().get(pk=template.pk)
    if locked.status == status and locked.reject_reason == (reason if status == Status.REJECTED else ""):
        return False
    before, locked.status = locked.status, status
    locked.reject_reason = reason if status == Status.REJECTED else ""
    if status == Status.PENDING:
        locked.submitted_at = timezone.now()
    if status == Status.APPROVED:
        locked.approved_at = timezone.now()
        newest = locked.versions.first()
        if newest is not None:
            TemplateVersion.objects.filter(pk=newest.pk).update(was_approved=True)
    locked.save(update_fields=["status", "reject_reason", "submitted_at", "approved_at", "updated_at"])
    record_event(locked, by=by, kind="status", from_status=before, to_status=status, reason=reason)
    Registry.bump_version(locked.api_channel_id)
    template.refresh_from_db()
    return True


@transaction.atomic
def change_category(template: Template, category: str, *, by: ChangeAuthor) -> bool:
    """Set the category and record the event, since a category changes the price. Return whether it changed."""
    if template.category == category:
        return False
    before, template.category = template.category, category
    template.save(update_fields=["category", "updated_at"])
    record_event(template, by=by, kind="category", to_status=template.status, reason=f"{before} → {category}")
    return True


@transaction.atomic
def announce_category(template: Template, category: str, *, at: datetime | None, by: ChangeAuthor) -> bool:
    """Record once that the provider will change the category at a later time, and with it the price.

    Return whether an event was recorded.
    """
    planned_at = f" ({timezone.localtime(at):%Y-%m-%d %H:%M})" if at else ""
    reason = f"{template.category} → {category}{planned_at}"
    if template.category == category or template.events.filter(kind="category_planned", reason=reason).exists():
        return False
    record_event(template, by=by, kind="category_planned", to_status=template.status, reason=reason)
    return True


@transaction.atomic
def change_quality(template: Template, quality: str, *, by: ChangeAuthor) -> bool:
    """Set the provider's quality rating and record the event. Meta pauses templates with a poor rating."""
    if template.quality == quality:
        return False
    before, template.quality = template.quality, quality
    template.save(update_fields=["quality", "updated_at"])
    record_event(template, by=by, kind="quality", to_status=template.status, reason=f"{before} → {quality}")
    return True


def record_use(template_id: int, *, user: Any) -> None:
    """Count a use of a template, and add it to the user's recently used ones."""
    now = timezone.now()
    Template.objects.filter(pk=template_id).update(times_used=F("times_used") + 1, last_used_at=now)
    if user is not None:
        TemplateUse.objects.update_or_create(user=user, template_id=template_id, defaults={"last_used_at": now})


def set_favorite(template_id: int, *, user: Any, is_favorite: bool) -> None:
    TemplateUse.objects.update_or_create(user=user, template_id=template_id, defaults={"is_favorite": is_favorite})


def _save_version(template: Template, *, by: ChangeAuthor) -> None:
    newest = template.versions.first()
    _build_version(template, number=newest.number + 1 if newest else 1, by=by).save()


def _build_version(template: Template, *, number: int, by: ChangeAuthor) -> TemplateVersion:
    return TemplateVersion(
        template=template,
        number=number,
        parameter_format=template.parameter_format,
        components=template.components,
        variables=template.variables,
        was_approved=template.status == Status.APPROVED,
        author=by.user,
    )


def record_event(
    template: Template, *, by: ChangeAuthor, kind: str, to_status: str, from_status: str = "", reason: str = ""
) -> None:
    _build_event(template, by=by, kind=kind, to_status=to_status, from_status=from_status, reason=reason).save()


def _build_event(
    template: Template, *, by: ChangeAuthor, kind: str, to_status: str, from_status: str = "", reason: str = ""
) -> TemplateEvent:
    return TemplateEvent(
        template=template,
        kind=kind,
        from_status=from_status,
        to_status=to_status,
        reason=reason,
        source=by.source,
        author=by.user,
    )
