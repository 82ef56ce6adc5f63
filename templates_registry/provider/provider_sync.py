"""Synchronization of the registry with the provider's list of templates.

All pages of the list are fetched before anything is applied in one transaction, so that a failed page changes nothing.
Templates that are no longer listed become deleted, a new text becomes a version, and each change of status, category
or quality is an event. Between synchronizations the provider reports single changes (``apply_provider_change``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from channels_setup import http_client
from channels_setup.advisory_locks import LockSpace, exclusive
from channels_setup.codecs.bodies import BadBody
from channels_setup.failing_items import FailingItems
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers import messengers
from channels_setup.providers.base import (
    ACCEPTED,
    ApiRequest,
    ApiResponse,
    Json,
    Outcome,
    TemplateChanged,
    TemplatePage,
)
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.matching.text_diff import content_key
from templates_registry.models import Quality, Registry, Status, Template, TemplateVersion, apply_variable_rows

from . import provider_template
from .provider_template import InvalidTemplateData, ProviderTemplate

logger = logging.getLogger(__name__)

CHANNELS = FailingItems("sync_templates")
SYNC_INTERVAL = timedelta(hours=1)
RETRY_INTERVAL = timedelta(minutes=10)
SUBMISSION_GRACE = timedelta(minutes=15)  # a submitted template that is not listed by then was not accepted
MAX_PAGES, MAX_TEMPLATES = 400, 10_000
MAX_PAGE_BYTES = 8 * 1024 * 1024

FAILURES = {
    "unauthorized": gettext_lazy("The provider denied access. Check the key."),
    "rate_limited": gettext_lazy("The provider's rate limit is reached."),
    "destination_error": gettext_lazy("The provider responded with a server error."),
    "name_not_found": gettext_lazy("The provider's address cannot be found."),
    "cannot_connect": gettext_lazy("The provider cannot be reached."),
    "tls": gettext_lazy("The provider's certificate is not valid."),
}


class FetchFailed(Exception):
    """The list could not be fetched completely.

    ``sentence`` explains the error to a person. ``untranslated`` is the same in English, for storage.
    """

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.sentence = str(sentence)
        with translation.override(None):
            self.untranslated = str(sentence)


@dataclass
class SyncResult:
    """Counts of a synchronization. With an ``error`` nothing was changed."""

    total: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    left_unchanged: int = 0  # the provider still lists a previous text
    unreadable: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def sentence(self) -> str:
        if self.error:
            return _("The templates could not be fetched, so nothing was changed. %(why)s") % {"why": self.error}
        parts = [
            ngettext("%d template is listed", "%d templates are listed", self.total) % self.total,
            _("%d new") % self.new if self.new else "",
            _("%d changed") % self.changed if self.changed else "",
            _("%d no longer listed") % self.removed if self.removed else "",
            _("%d newer here and left unchanged") % self.left_unchanged if self.left_unchanged else "",
            _("%d could not be read") % len(self.unreadable) if self.unreadable else "",
        ]
        if not (self.new or self.changed or self.removed):
            parts.insert(1, _("nothing has changed"))
        return ", ".join(part for part in parts if part) + "."


def may_sync(api_channel: ApiChannel) -> bool:
    is_usable = api_channel.archived_at is None and api_channel.kind in messengers()
    return is_usable and api_channel.provider.lists_templates


def sync_channel(api_channel: ApiChannel) -> SyncResult:
    """Fetch and apply the provider's list. Errors of the provider are returned in the result, not raised."""
    with exclusive(LockSpace.TEMPLATES, api_channel.pk) as is_locked:
        if not is_locked:
            return SyncResult(error=_("A synchronization is already running."))
        try:
            result = apply_list(api_channel, fetch_list(api_channel))
        except IntegrityError:
            return SyncResult(error=_("Another user is creating the same template. Try again."))
        except FetchFailed as problem:
            _save_sync_state(api_channel, error=problem.untranslated)
            return SyncResult(error=problem.sentence)
        _save_sync_state(api_channel)
        return result


def sync_due_channels() -> int:
    """Synchronize all channels that are due. Return their number."""
    kinds = [kind for kind, provider in messengers().items() if provider.lists_templates]
    now = timezone.now()
    due = ApiChannel.objects.filter(
        Q(registry=None) | Q(registry__next_sync_at=None) | Q(registry__next_sync_at__lte=now), kind__in=kinds
    )
    done = 0
    for api_channel in due.exclude(state=ChannelState.PAUSED).order_by("registry__next_sync_at", "pk"):
        # Postpone first, so that a channel that crashes this run does not delay the others in the next one.
        with CHANNELS.isolate(api_channel.pk):
            Registry.objects.update_or_create(api_channel=api_channel, defaults={"next_sync_at": now + RETRY_INTERVAL})
            result = sync_channel(api_channel)
            done += 1
            if result.error:
                logger.warning("templates not fetched", extra={"channel": api_channel.pk})
    return done


def fetch_list(api_channel: ApiChannel) -> list[Json]:
    """Return all rows of the provider's list. Raise FetchFailed."""
    account, provider = api_channel.account(), api_channel.provider
    rows: list[Json] = []
    after, seen = "", {""}
    for _number in range(MAX_PAGES):
        try:
            first = provider.fetch_templates(account, after=after)
            page = first if isinstance(first, TemplatePage) else _fetch_page(api_channel, first)
        except BadBody as problem:
            raise FetchFailed(str(problem)) from problem
        rows += page.rows
        after = page.after
        if not after:
            return rows
        if after in seen or len(rows) > MAX_TEMPLATES:
            break
        seen.add(after)
    raise FetchFailed(gettext_lazy("The provider's list is too long or does not end."))


def _fetch_page(api_channel: ApiChannel, request: ApiRequest) -> TemplatePage:
    try:
        response: ApiResponse = http_client.send(request, max_bytes=MAX_PAGE_BYTES)
    except http_client.ForbiddenAddress as problem:
        raise FetchFailed(str(problem)) from problem
    except http_client.ConnectionFailed as problem:
        raise FetchFailed(FAILURES.get(problem.reason, problem.reason)) from problem
    except http_client.NoResponse as problem:
        raise FetchFailed(gettext_lazy("The provider did not answer in time.")) from problem
    outcome = api_channel.provider.judge_response(response)
    if outcome.verdict != ACCEPTED:
        raise FetchFailed(describe_refusal(outcome, response))
    return api_channel.provider.read_templates(response)


def describe_refusal(outcome: Outcome, response: ApiResponse) -> str:
    """Explain a refusal, in the provider's words if the response has any."""
    title, details = outcome.title.strip().rstrip("."), outcome.details.strip()
    words = details if not title or title in details else f"{title}: {details}".rstrip(": ")
    if words:
        code = f" ({outcome.code})" if outcome.code and outcome.code not in words else ""
        return _("The provider says: %(words)s") % {"words": words[:500] + code}
    sentence = FAILURES.get(outcome.reason)
    return str(sentence or _("The provider refused (HTTP %(status)s).") % {"status": response.status})


# --- applying the list -----------------------------------------------------------------------------------

BY_SYNC = ChangeAuthor(source=Source.SYNC)


@transaction.atomic
def apply_list(api_channel: ApiChannel, rows: list[Json]) -> SyncResult:
    """Make the registry equal to a complete list."""
    result = SyncResult(total=len(rows))
    existing = list(Template.objects.filter(api_channel=api_channel).select_for_update().order_by("pk"))
    by_id = {template.external_id: template for template in existing if template.external_id}
    by_key = {(template.name, template.language): template for template in existing}
    seen: set[int] = set()
    new: dict[tuple[str, str], Template] = {}
    for row in rows:
        try:
            incoming = provider_template.parse_row(row)
        except InvalidTemplateData as problem:
            result.unreadable.append(str(problem.sentence))
            seen |= {template.pk for template in _referenced(row, by_id, by_key)}
            continue
        template = by_id.get(incoming.external_id) if incoming.external_id else None
        template = template or by_key.get(incoming.key)
        if template is None:
            made = provider_template.build_template(
                incoming, api_channel_id=api_channel.pk, external_id=incoming.external_id
            )
            new.setdefault(incoming.key, made)
        elif template.pk not in seen:
            seen.add(template.pk)
            _apply_row(template, incoming, result)
    result.new = len(lifecycle.create_many(list(new.values()), by=BY_SYNC))
    for template in existing:
        if template.pk not in seen:
            result.removed += _mark_unlisted(template)
    return result


def _mark_unlisted(template: Template) -> bool:
    """Delete a template that is no longer listed. Return whether it changed.

    Only the provider assigns IDs, so a template without one was never listed: it is a draft or comes from a file.
    """
    if template.external_id and template.status == Status.DRAFT:
        # The provider deleted the submitted text. The draft was never submitted and will be a new template there.
        Template.objects.filter(pk=template.pk).update(external_id="", provider_status="")
        return False
    if template.external_id:
        return lifecycle.change_status(
            template, Status.DELETED, by=BY_SYNC, reason=_("The provider no longer lists it.")
        )
    if _submission_was_lost(template):
        lifecycle.change_status(template, Status.DRAFT, by=BY_SYNC, reason=_("The provider did not accept it."))
    return False


def _submission_was_lost(template: Template) -> bool:
    """Return whether a submission without a response should be listed by now, so that it was not accepted."""
    if template.status != Status.PENDING or not template.api_channel.provider.manages_templates:
        return False
    return template.submitted_at is not None and template.submitted_at < timezone.now() - SUBMISSION_GRACE


def _apply_row(template: Template, incoming: ProviderTemplate, result: SyncResult) -> None:
    if incoming.external_id and template.external_id != incoming.external_id:
        Template.objects.filter(pk=template.pk).update(external_id=incoming.external_id)
        template.external_id = incoming.external_id
    if template.provider_status != incoming.status:
        Template.objects.filter(pk=template.pk).update(provider_status=incoming.status)
    if _is_stored_text_newer(template, incoming):
        if incoming.status != Status.PENDING and _submission_was_lost(template):
            lifecycle.change_status(template, Status.DRAFT, by=BY_SYNC, reason=_("The provider did not accept it."))
        result.left_unchanged += 1
        return
    changed = lifecycle.is_reworded(template, incoming.definition)
    if changed:
        # Variables that still exist keep our labels, hints and examples.
        lifecycle.change_text(template, apply_variable_rows(incoming.definition, template.variables), by=BY_SYNC)
    changed |= provider_template.apply_state(template, incoming, by=BY_SYNC)
    result.changed += changed


def _is_stored_text_newer(template: Template, incoming: ProviderTemplate) -> bool:
    """Return whether the provider still lists a previous text, because the draft is not submitted or not reviewed."""
    if template.status not in (Status.DRAFT, Status.PENDING) or not lifecycle.is_reworded(
        template, incoming.definition
    ):
        return False
    incoming_key = content_key(incoming.definition)
    versions = TemplateVersion.objects.filter(template=template).select_related("template")
    return any(content_key(version.definition) == incoming_key for version in versions)


def _referenced(row: object, by_id: dict[str, Template], by_key: dict[tuple[str, str], Template]) -> Iterator[Template]:
    """Yield the templates that an unreadable row refers to. They are left unchanged."""
    if not isinstance(row, dict):
        return
    for template in (by_id.get(str(row.get("id"))), by_key.get((str(row.get("name")), str(row.get("language"))))):
        if template is not None:
            yield template


def _save_sync_state(api_channel: ApiChannel, *, error: str = "") -> None:
    now = timezone.now()
    state = {"next_sync_at": now + (RETRY_INTERVAL if error else SYNC_INTERVAL), "sync_error": error}
    if not error:
        state["synced_at"] = now
    Registry.objects.update_or_create(api_channel=api_channel, defaults=state)


# --- single changes --------------------------------------------------------------------------------------


def apply_provider_change(api_channel: ApiChannel, fact: TemplateChanged) -> None:
    """Apply a change that the provider reports: approved, paused… Call in a transaction.

    A template that the registry does not have is added without its text, so that admins see it. The next
    synchronization fetches the text.
    """
    by = ChangeAuthor(source=Source.PROVIDER)
    status = provider_template.parse_status(fact.status)
    template = _find_template(api_channel, fact)
    if template is not None:
        _apply_change(template, fact, status, by=by)
        return
    schedule_sync(api_channel.pk)
    if not fact.name or not fact.language:
        logger.warning("change of an unknown template", extra={"channel": api_channel.pk})
        return
    added = Template(
        api_channel=api_channel,
        name=fact.name,
        language=fact.language,
        status=Status.UNKNOWN,
        external_id=fact.external_id,
        components=[],
    )
    try:
        with transaction.atomic():
            reason = _("The provider reports “%(status)s”, but the text has not been synchronized yet.")
            lifecycle.create(added, by=by, reason=reason % {"status": Status(status or Status.UNKNOWN).label})
    except IntegrityError:  # another process has just added it
        apply_provider_change(api_channel, fact)


def _apply_change(template: Template, fact: TemplateChanged, status: str, *, by: ChangeAuthor) -> None:
    if fact.external_id and not template.external_id:
        Template.objects.filter(pk=template.pk).update(external_id=fact.external_id)
        template.external_id = fact.external_id
    if status:
        Template.objects.filter(pk=template.pk).update(provider_status=status)
    # A draft differs from the text that the provider has, so the provider's status does not apply to it.
    if status and not (template.status == Status.DRAFT and template.provider_status):
        lifecycle.change_status(template, status, by=by, reason=fact.reason)
    if fact.quality in Quality.values:
        lifecycle.change_quality(template, fact.quality, by=by)
    if fact.category:
        lifecycle.change_category(template, fact.category[:40], by=by)
    if fact.next_category:
        lifecycle.announce_category(template, fact.next_category[:40], at=fact.next_category_at, by=by)
    if fact.reread:  # only the list has the new state
        schedule_sync(template.api_channel_id)


def schedule_sync(api_channel_id: int) -> None:
    """Make the synchronization due now, because the provider's list differs from the registry."""
    Registry.objects.update_or_create(api_channel_id=api_channel_id, defaults={"next_sync_at": timezone.now()})


def _find_template(api_channel: ApiChannel, fact: TemplateChanged) -> Template | None:
    own = Template.objects.filter(api_channel=api_channel)
    found = own.filter(external_id=fact.external_id).first() if fact.external_id else None
    return found or own.filter(name=fact.name, language=fact.language).first()
