"""Submission, editing and deletion of templates at a provider that accepts them through its API.

Three steps. The template is marked under a lock (pending, being deleted), so that two admins do not submit it twice
and an immediate decision of the provider finds it in that status. The provider is called outside any transaction. Then
the result is recorded. After a refusal the template is as before, with the provider's explanation. Without a response
the next synchronization shows the result (``provider_sync``).
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from channels_setup import http_client
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import ApiChannel
from channels_setup.providers import messengers
from channels_setup.providers.base import (
    ACCEPTED,
    UNKNOWN,
    Account,
    ApiRequest,
    ApiResponse,
    Messenger,
    OutboundFile,
    SubmittedTemplate,
)
from templates_registry import lifecycle
from templates_registry.content import graph_format
from templates_registry.content.components import Level
from templates_registry.content.slots import ValueKind
from templates_registry.content.titles import variable_title
from templates_registry.content.validation import validate
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template, TemplateEvent

from . import provider_sync

MAX_SAMPLE_BYTES = 16 * 1024 * 1024
SAMPLE_TIMEOUT = 30.0
DELETED_STATUSES = (Status.DELETED, Status.PENDING_DELETION)


class SubmissionRefused(Exception):
    """Nothing was done, and the template is unchanged.

    ``sentence`` explains why, in the provider's words if possible.
    """

    def __init__(self, sentence: object) -> None:
        super().__init__(str(sentence))
        self.sentence = str(sentence)


class SubmissionOutcomeUnknown(Exception):
    """The provider was called and did not respond."""


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """The template as submitted, and its previous state."""

    row: dict[str, Any]
    links: dict[str, str]  # links to sample files, by variable key
    status: str
    reason: str
    submitted_at: datetime | None


def may_manage(api_channel: ApiChannel) -> bool:
    return api_channel.kind in messengers() and api_channel.provider.manages_templates


def exists_at_provider(template: Template) -> bool:
    """Return whether the provider has the template, as far as the registry knows."""
    return bool(template.external_id) and template.status != Status.DELETED


def submit_template(template: Template, *, user: Any) -> str:
    """Submit a template or its new text. Return a remark or an empty string. Raise SubmissionRefused."""
    by = ChangeAuthor(source=Source.MANUAL, user=user)
    snapshot = _mark_and_snapshot(template, Status.PENDING, by=by, check=_check_can_submit)
    with _rollback_on_error(template, snapshot):
        try:
            submitted = _send_to_provider(template.api_channel, snapshot)
        except SubmissionOutcomeUnknown:
            _record_edit(template, snapshot, by=by)
            provider_sync.schedule_sync(template.api_channel_id)
            return _(
                "The provider did not respond, so the template may or may not have been submitted. "
                "The next synchronization will show it."
            )
    return _record_submission(template, snapshot, submitted, by=by)


def delete_template(template: Template, *, user: Any) -> str:
    """Delete a template in its language at the provider. Return and raise as ``submit_template`` does."""
    by = ChangeAuthor(source=Source.MANUAL, user=user)
    snapshot = _mark_and_snapshot(template, Status.PENDING_DELETION, by=by, check=_check_can_delete)
    channel = template.api_channel
    with _rollback_on_error(template, snapshot):
        try:
            _send_request(channel.provider, channel.provider.build_template_deletion(snapshot.row, channel.account()))
        except SubmissionOutcomeUnknown:
            provider_sync.schedule_sync(template.api_channel_id)
            return _(
                "The provider did not respond, so the template may or may not be deleted. "
                "The next synchronization will show it."
            )
    with transaction.atomic():
        # The provider no longer has it, so a restored template is a draft.
        Template.objects.filter(pk=template.pk).update(external_id="", provider_status="")
        lifecycle.change_status(template, Status.DELETED, by=by)
    return ""


# --- checks ----------------------------------------------------------------------------------------------


@transaction.atomic
def _mark_and_snapshot(
    template: Template, status: str, *, by: ChangeAuthor, check: Callable[[Template], None]
) -> _Snapshot:
    locked = Template.objects.select_for_update(of=("self",)).select_related("api_channel").get(pk=template.pk)
    check(locked)
    definition = locked.definition
    row = graph_format.serialize_template(definition) | {
        "id": locked.external_id,
        "status": locked.provider_status.upper(),
    }
    links = {v.key: v.example or v.default for v in definition.variables if v.kind is ValueKind.MEDIA}
    snapshot = _Snapshot(
        row=row, links=links, status=locked.status, reason=locked.reject_reason, submitted_at=locked.submitted_at
    )
    lifecycle.change_status(locked, status, by=by)
    template.refresh_from_db()
    return snapshot


def _check_can_submit(template: Template) -> None:
    if template.status not in (Status.DRAFT, Status.REJECTED):
        raise SubmissionRefused(
            _("This action is not available while the template is %(status)s.")
            % {"status": template.get_status_display()}
        )
    definition = template.definition
    problems = validate(definition)
    errors = [str(one.sentence) for one in problems if one.level is Level.ERROR or one.code == "example_missing"]
    for variable in definition.variables:
        if variable.kind is ValueKind.MEDIA and not (variable.example or variable.default):
            sentence = _("Enter an example for “%(title)s”: a link to a sample file for the reviewers.")
            errors.append(sentence % {"title": variable_title(definition, variable)})
    if errors:
        raise SubmissionRefused(" ".join(errors))
    if template.external_id:
        _check_can_edit(template)


def _check_can_edit(template: Template) -> None:
    rules, status = template.api_channel.provider.edit_rules, template.provider_status
    if not status:
        return  # unknown here, so the provider decides
    if rules.editable is not None and status.upper() not in rules.editable:
        label = Status(status).label if status in Status.values else status
        raise SubmissionRefused(
            _("The provider's status is %(status)s. The text cannot be changed in this status.") % {"status": label}
        )
    if status.upper() != "APPROVED":
        return
    per_day = _("The limit for edits of an approved template is reached: %(limit)d in 24 hours.")
    per_month = _("The limit for edits of an approved template is reached: %(limit)d in 30 days.")
    for limit, days, sentence in (
        (rules.approved_edits_per_day, 1, per_day),
        (rules.approved_edits_per_month, 30, per_month),
    ):
        since = timezone.now() - timedelta(days=days)
        edits = template.events.filter(kind=TemplateEvent.EDITED, at__gt=since).count()
        if limit is not None and edits >= limit:
            raise SubmissionRefused(sentence % {"limit": limit})
    if rules.keeps_category_when_approved and _category_changed(template):
        raise SubmissionRefused(
            _("The category of an approved template cannot be changed. Restore the category or create a new template.")
        )


def _category_changed(template: Template) -> bool:
    """Return whether an admin changed the category after the provider last set it."""
    approved = template.events.filter(kind="status", to_status=Status.APPROVED).order_by("-pk").first()
    providers_category = ""
    for event in template.events.filter(kind="category", pk__gt=approved.pk if approved else 0).order_by("pk"):
        by_hand = event.source == Source.MANUAL
        providers_category = (providers_category or event.reason.partition(" → ")[0]) if by_hand else ""
    return bool(providers_category) and providers_category != template.category


def _check_can_delete(template: Template) -> None:
    if not exists_at_provider(template):
        raise SubmissionRefused(_("The provider does not have this template."))
    if template.status in DELETED_STATUSES:
        raise SubmissionRefused(
            _("This action is not available while the template is %(status)s.")
            % {"status": template.get_status_display()}
        )


# --- calls of the provider -------------------------------------------------------------------------------


def _send_to_provider(channel: ApiChannel, snapshot: _Snapshot) -> SubmittedTemplate:
    provider, account = channel.provider, channel.account()
    samples = {key: _upload_sample(provider, account, link) for key, link in snapshot.links.items()}
    response = _send_request(provider, provider.build_template_request(snapshot.row, account, samples=samples))
    try:
        return provider.read_submitted_template(response)
    except BadBody as problem:
        raise SubmissionOutcomeUnknown from problem


def _upload_sample(provider: Messenger, account: Account, link: str) -> str:
    """Download a sample file, upload it to the provider, and return the provider's handle for it."""
    try:
        file = _download_sample(link)
        calls = provider.upload_template_sample(file, account)
        request = next(calls)
        while True:
            request = calls.send(_send_request(provider, request))
    except StopIteration as finished:
        return str(finished.value)
    except BadBody as problem:
        raise SubmissionRefused(problem) from problem
    except SubmissionOutcomeUnknown:
        raise SubmissionRefused(_("The provider did not answer in time.")) from None


def _download_sample(link: str) -> OutboundFile:
    failed = _("The sample file of the header could not be downloaded: %(why)s")
    request = ApiRequest(method="GET", url=link, headers={}, body=b"")
    try:
        response = http_client.send(request, max_bytes=MAX_SAMPLE_BYTES + 1, seconds=SAMPLE_TIMEOUT)
    except http_client.ForbiddenAddress as problem:
        raise SubmissionRefused(failed % {"why": problem}) from problem
    except (http_client.ConnectionFailed, http_client.NoResponse) as problem:
        raise SubmissionRefused(failed % {"why": _("the server does not respond.")}) from problem
    if response.status != 200 or not response.body:
        raise SubmissionRefused(failed % {"why": f"HTTP {response.status}"})
    if len(response.body) > MAX_SAMPLE_BYTES:
        raise SubmissionRefused(failed % {"why": _("the file is larger than 16 MB.")})
    if not response.is_complete:
        raise SubmissionRefused(failed % {"why": _("the server does not respond.")})
    name = unquote(urlsplit(link).path).rsplit("/", 1)[-1][:100] or "sample"
    mime: str | None = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if mime is None or "/" not in mime or mime == "application/octet-stream":
        mime = mimetypes.guess_type(name)[0]
    return OutboundFile(name=name, mime=mime or "application/octet-stream", content=response.body)


def _send_request(provider: Messenger, request: ApiRequest) -> ApiResponse:
    """Send one request and return an accepted response.

    Raise SubmissionRefused in the provider's words, or SubmissionOutcomeUnknown without a clear response.
    """
    try:
        response = http_client.send(request)
    except http_client.ForbiddenAddress as problem:
        raise SubmissionRefused(problem) from problem
    except http_client.ConnectionFailed as problem:
        raise SubmissionRefused(provider_sync.FAILURES.get(problem.reason, problem.reason)) from problem
    except http_client.NoResponse as problem:
        raise SubmissionOutcomeUnknown from problem
    outcome = provider.judge_response(response)
    if outcome.verdict == UNKNOWN:
        raise SubmissionOutcomeUnknown
    if outcome.verdict != ACCEPTED:
        raise SubmissionRefused(provider_sync.describe_refusal(outcome, response))
    return response


# --- results ---------------------------------------------------------------------------------------------


@contextmanager
def _rollback_on_error(template: Template, snapshot: _Snapshot) -> Any:
    """Restore the template on any exception, unless the provider has changed its status in the meantime."""
    marked_status = template.status
    try:
        yield
    except BaseException as problem:
        reason = problem.sentence if isinstance(problem, SubmissionRefused) else _("The operation was interrupted.")
        with transaction.atomic():
            locked = Template.objects.select_for_update(of=("self",)).get(pk=template.pk)
            if locked.status == marked_status:
                lifecycle.change_status(locked, snapshot.status, by=ChangeAuthor(source=Source.PROVIDER), reason=reason)
                Template.objects.filter(pk=template.pk).update(
                    reject_reason=snapshot.reason, submitted_at=snapshot.submitted_at
                )
        template.refresh_from_db()
        raise


@transaction.atomic
def _record_submission(
    template: Template, snapshot: _Snapshot, submitted: SubmittedTemplate, *, by: ChangeAuthor
) -> str:
    locked = Template.objects.select_for_update(of=("self",)).get(pk=template.pk)
    if submitted.external_id:
        locked.external_id = submitted.external_id
        locked.save(update_fields=["external_id"])
    if locked.status == Status.PENDING:  # otherwise the decision arrived before the response
        Template.objects.filter(pk=locked.pk).update(provider_status=Status.PENDING)
    _record_edit(locked, snapshot, by=by)
    requested = locked.category
    category_changed = bool(submitted.category) and lifecycle.change_category(
        locked, submitted.category, by=ChangeAuthor(source=Source.PROVIDER)
    )
    template.refresh_from_db()
    if not category_changed:
        return ""
    categories = {"requested": requested, "category": submitted.category}
    sentence = _(
        "The provider assigned the category %(category)s instead of %(requested)s. The price depends on the category."
    )
    return sentence % categories


def _record_edit(template: Template, snapshot: _Snapshot, *, by: ChangeAuthor) -> None:
    """Record an edit of an approved template, which counts toward the provider's limits."""
    if snapshot.row["id"] and snapshot.row["status"] == "APPROVED":
        lifecycle.record_event(template, by=by, kind=TemplateEvent.EDITED, to_status=template.status)
