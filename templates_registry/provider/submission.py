"""Templates at a provider that takes them from us: handed in for approval, given a new text, deleted.

In three steps: the template is marked under its lock (waiting, being deleted), so that two admins do not hand it in
twice and a verdict that comes at once finds it so; the calls are made outside of any transaction; what came of them is
written down. Refused: it is as it was, with the provider's words. No answer: the next look at the provider's list
settles it (``provider_sync``).
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
    """It was not done, and everything is as it was. ``sentence`` says why, in the provider's words where they are."""

    def __init__(self, sentence: object) -> None:
        super().__init__(str(sentence))
        self.sentence = str(sentence)


class SubmissionOutcomeUnknown(Exception):
    """The call went out and no answer came."""


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """The template as it goes out, and how it was before."""

    row: dict[str, Any]
    links: dict[str, str]  # to the samples of files, by the variables' keys
    status: str
    reason: str
    submitted_at: datetime | None


def may_manage(api_channel: ApiChannel) -> bool:
    return api_channel.kind in messengers() and api_channel.provider.manages_templates


def exists_at_provider(template: Template) -> bool:
    """Whether the provider has it, as far as we know."""
    return bool(template.external_id) and template.status != Status.DELETED


def submit_template(template: Template, *, user: Any) -> str:
    """Hand it in, or hand in its new text; what there is to say beyond that it was done. Raises Refused."""
    by = ChangeAuthor(source=Source.MANUAL, user=user)
    begun = _mark_and_snapshot(template, Status.PENDING, by=by, check=_check_can_submit)
    with _rollback_on_error(template, begun):
        try:
            standing = _send_to_provider(template.api_channel, begun)
        except SubmissionOutcomeUnknown:
            _record_edit(template, begun, by=by)
            provider_sync.schedule_sync(template.api_channel_id)
            return _(
                "The provider did not respond, so the template may or may not have been submitted. "
                "The next synchronization will show it."
            )
    return _record_submission(template, begun, standing, by=by)


def delete_template(template: Template, *, user: Any) -> str:
    """Delete this one, in this one language, at the provider; as ``submit_template``."""
    by = ChangeAuthor(source=Source.MANUAL, user=user)
    begun = _mark_and_snapshot(template, Status.PENDING_DELETION, by=by, check=_check_can_delete)
    channel = template.api_channel
    with _rollback_on_error(template, begun):
        try:
            _send_request(channel.provider, channel.provider.build_template_deletion(begun.row, channel.account()))
        except SubmissionOutcomeUnknown:
            provider_sync.schedule_sync(template.api_channel_id)
            return _(
                "The provider did not respond, so the template may or may not be deleted. "
                "The next synchronization will show it."
            )
    with transaction.atomic():
        # Gone from there for good: brought back, it is a draft of ours.
        Template.objects.filter(pk=template.pk).update(external_id="", provider_status="")
        lifecycle.change_status(template, Status.DELETED, by=by)
    return ""


# --- before ----------------------------------------------------------------------------------------------


@transaction.atomic
def _mark_and_snapshot(
    template: Template, to: str, *, by: ChangeAuthor, check: Callable[[Template], None]
) -> _Snapshot:
    locked = Template.objects.select_for_update(of=("self",)).select_related("api_channel").get(pk=template.pk)
    check(locked)
    pattern = locked.pattern
    row = graph_format.serialize_template(pattern) | {
        "id": locked.external_id,
        "status": locked.provider_status.upper(),
    }
    links = {v.key: v.example or v.default for v in pattern.variables if v.kind is ValueKind.MEDIA}
    begun = _Snapshot(
        row=row, links=links, status=locked.status, reason=locked.reject_reason, submitted_at=locked.submitted_at
    )
    lifecycle.change_status(locked, to, by=by)
    template.refresh_from_db()
    return begun


def _check_can_submit(template: Template) -> None:
    if template.status not in (Status.DRAFT, Status.REJECTED):
        raise SubmissionRefused(
            _("This action is not available while the template is %(status)s.")
            % {"status": template.get_status_display()}
        )
    pattern = template.pattern
    problems = validate(pattern)
    wrong = [str(one.sentence) for one in problems if one.level is Level.ERROR or one.code == "example_missing"]
    for variable in pattern.variables:
        if variable.kind is ValueKind.MEDIA and not (variable.example or variable.default):
            sentence = _("Enter an example for “%(title)s”: a link to a sample file for the reviewers.")
            wrong.append(sentence % {"title": variable_title(pattern, variable)})
    if wrong:
        raise SubmissionRefused(" ".join(wrong))
    if template.external_id:
        _check_can_edit(template)


def _check_can_edit(template: Template) -> None:
    rules, there = template.api_channel.provider.edit_rules, template.provider_status.upper()
    if not there:
        return  # the provider will say
    if rules.editable is not None and there not in rules.editable:
        word = template.provider_status
        told = {"status": Status(word).label if word in Status.values else word}
        raise SubmissionRefused(
            _("The provider's status is %(status)s. The text cannot be changed in this status.") % told
        )
    if there != "APPROVED":
        return
    a_day = _("The limit for edits of an approved template is reached: %(most)d in 24 hours.")
    a_month = _("The limit for edits of an approved template is reached: %(most)d in 30 days.")
    for most, days, sentence in (
        (rules.approved_edits_per_day, 1, a_day),
        (rules.approved_edits_per_month, 30, a_month),
    ):
        since = timezone.now() - timedelta(days=days)
        edits = template.events.filter(what=TemplateEvent.EDITED, at__gt=since).count()
        if most is not None and edits >= most:
            raise SubmissionRefused(sentence % {"most": most})
    if rules.keeps_category_when_approved and _category_changed(template):
        raise SubmissionRefused(
            _("The category of an approved template cannot be changed. Restore the category or create a new template.")
        )


def _category_changed(template: Template) -> bool:
    """By hand, since the provider last had its word on it."""
    approved = template.events.filter(what="status", to_status=Status.APPROVED).order_by("-pk").first()
    there = ""
    for event in template.events.filter(what="category", pk__gt=approved.pk if approved else 0).order_by("pk"):
        by_hand = event.source == Source.MANUAL
        there = (there or event.reason.partition(" → ")[0]) if by_hand else ""
    return bool(there) and there != template.category


def _check_can_delete(template: Template) -> None:
    if not exists_at_provider(template):
        raise SubmissionRefused(_("The provider does not have this template."))
    if template.status in DELETED_STATUSES:
        raise SubmissionRefused(
            _("This action is not available while the template is %(status)s.")
            % {"status": template.get_status_display()}
        )


# --- the calls -------------------------------------------------------------------------------------------


def _send_to_provider(channel: ApiChannel, begun: _Snapshot) -> SubmittedTemplate:
    provider, account = channel.provider, channel.account()
    samples = {key: _upload_sample(provider, account, link) for key, link in begun.links.items()}
    answer = _send_request(provider, provider.build_template_request(begun.row, account, samples=samples))
    try:
        return provider.read_submitted_template(answer)
    except BadBody as problem:
        raise SubmissionOutcomeUnknown from problem


def _upload_sample(provider: Messenger, account: Account, link: str) -> str:
    """Fetch the sample by its link and give it to the provider; what it calls it. Nothing is handed in yet."""
    try:
        file = _download_sample(link)
        calls = provider.upload_template_sample(file, account)
        request = next(calls)
        while True:
            request = calls.send(_send_request(provider, request))
    except StopIteration as done:
        return str(done.value)
    except BadBody as problem:
        raise SubmissionRefused(problem) from problem
    except SubmissionOutcomeUnknown:
        raise SubmissionRefused(_("The provider did not answer in time.")) from None


def _download_sample(link: str) -> OutboundFile:
    failed = _("The sample file of the header could not be downloaded: %(why)s")
    request = ApiRequest(method="GET", url=link, headers={}, body=b"")
    try:
        answer = http_client.send(request, max_bytes=MAX_SAMPLE_BYTES + 1, seconds=SAMPLE_TIMEOUT)
    except http_client.ForbiddenAddress as problem:
        raise SubmissionRefused(failed % {"why": problem}) from problem
    except (http_client.ConnectionFailed, http_client.NoResponse) as problem:
        raise SubmissionRefused(failed % {"why": _("the server does not respond.")}) from problem
    if answer.status != 200 or not answer.body:
        raise SubmissionRefused(failed % {"why": f"HTTP {answer.status}"})
    if len(answer.body) > MAX_SAMPLE_BYTES:
        raise SubmissionRefused(failed % {"why": _("the file is larger than 16 MB.")})
    name = unquote(urlsplit(link).path).rsplit("/", 1)[-1][:100] or "sample"
    told = answer.headers.get("content-type", "").split(";")[0].strip().lower()
    mime = told if "/" in told and told != "application/octet-stream" else mimetypes.guess_type(name)[0]
    return OutboundFile(name=name, mime=mime or "application/octet-stream", content=answer.body)


def _send_request(provider: Messenger, request: ApiRequest) -> ApiResponse:
    """One call; a good answer, or Refused in the provider's words, or Unsure."""
    try:
        answer = http_client.send(request)
    except http_client.ForbiddenAddress as problem:
        raise SubmissionRefused(problem) from problem
    except http_client.ConnectionFailed as problem:
        raise SubmissionRefused(provider_sync.FAILURES.get(problem.reason, problem.reason)) from problem
    except http_client.NoResponse as problem:
        raise SubmissionOutcomeUnknown from problem
    outcome = provider.judge_response(answer)
    if outcome.verdict == UNKNOWN:
        raise SubmissionOutcomeUnknown
    if outcome.verdict != ACCEPTED:
        raise SubmissionRefused(provider_sync.describe_refusal(outcome, answer))
    return answer


# --- after -----------------------------------------------------------------------------------------------


@contextmanager
def _rollback_on_error(template: Template, begun: _Snapshot) -> Any:
    """Whatever breaks off the calls leaves the template as it was, unless the provider has moved it meanwhile."""
    marked = template.status
    try:
        yield
    except BaseException as problem:
        words = problem.sentence if isinstance(problem, SubmissionRefused) else _("The operation was interrupted.")
        with transaction.atomic():
            locked = Template.objects.select_for_update(of=("self",)).get(pk=template.pk)
            if locked.status == marked:
                lifecycle.change_status(locked, begun.status, by=ChangeAuthor(source=Source.PROVIDER), reason=words)
                Template.objects.filter(pk=template.pk).update(
                    reject_reason=begun.reason, submitted_at=begun.submitted_at
                )
        template.refresh_from_db()
        raise


@transaction.atomic
def _record_submission(template: Template, begun: _Snapshot, standing: SubmittedTemplate, *, by: ChangeAuthor) -> str:
    locked = Template.objects.select_for_update(of=("self",)).get(pk=template.pk)
    if standing.external_id:
        locked.external_id = standing.external_id
        locked.save(update_fields=["external_id"])
    if locked.status == Status.PENDING:  # else the verdict was here before the answer
        Template.objects.filter(pk=locked.pk).update(provider_status=Status.PENDING)
    _record_edit(locked, begun, by=by)
    asked = locked.category
    moved = bool(standing.category) and lifecycle.change_category(
        locked, standing.category, by=ChangeAuthor(source=Source.PROVIDER)
    )
    template.refresh_from_db()
    if not moved:
        return ""
    told = {"asked": asked, "category": standing.category}
    return (
        _("The provider assigned the category %(category)s instead of %(asked)s. The price depends on the category.")
        % told
    )


def _record_edit(template: Template, begun: _Snapshot, *, by: ChangeAuthor) -> None:
    """For the provider's limits: a new text that one with an approved text was given."""
    if begun.row["id"] and begun.row["status"] == "APPROVED":
        lifecycle.record_event(template, by=by, what=TemplateEvent.EDITED, to_status=template.status)
