"""Effects of a failure beyond its own message: the channel is paused, or the template's status changes.

A failure code comes with a response, or later with a status. The effects are the same, but a status from before the
channel was resumed or the template was approved again is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge import outcomes
from bridge.outcomes import OutcomeClass, TemplateEffect
from channels_setup.models import ApiChannel
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template
from templates_registry.provider import provider_sync

from . import alerts

STATUS_BY_EFFECT = {TemplateEffect.PAUSED: Status.PAUSED, TemplateEffect.DISABLED: Status.DISABLED}


def apply_failure(
    channel: ApiChannel, reason: str, *, template: Mapping[str, Any] | None, at: datetime | None = None
) -> None:
    """Apply the effects of `reason`. `at`: the time that the provider reports, or None for a response just received."""
    outcome = outcomes.find_reason(reason)
    if outcome is not None and outcome.outcome_class is OutcomeClass.PAUSE:
        pause_channel(channel, reason, at=at)
    if template and outcome is not None and outcome.effects.template:
        _apply_to_template(channel, reason, template.get("id"), at=at)


def pause_channel(channel: ApiChannel, reason: str, *, at: datetime | None = None) -> None:
    """Pause a channel that cannot send until an admin acts, keep everything, and raise an alert."""
    if not _is_current(at, since=channel.resumed_at):
        return
    channel.record_failure(reason)
    channel.pause()
    alerts.raise_alert(alerts.Kind.SWITCHED_OFF, api_channel_id=channel.pk, why_code=reason)


def _is_current(at: datetime | None, *, since: datetime | None) -> bool:
    """Return whether a report is newer than `since`. Providers report whole seconds; the same second counts."""
    return at is None or since is None or at >= since.replace(microsecond=0)


def _apply_to_template(channel: ApiChannel, reason: str, template_id: int | None, *, at: datetime | None) -> None:
    row = Template.objects.filter(pk=template_id, api_channel=channel).first() if template_id else None
    status = STATUS_BY_EFFECT.get(outcomes.get_effects(reason).template)
    if row and status and row.status == Status.APPROVED and _is_current(at, since=row.approved_at):
        by = ChangeAuthor(source=Source.PROVIDER)
        lifecycle.change_status(row, status, by=by, reason=str(outcomes.render_sentence(reason)))
    provider_sync.schedule_sync(channel.pk)
