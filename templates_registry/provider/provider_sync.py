"""The registry follows the provider's list of templates.

The whole list is fetched first, page by page, and only then taken over, in one transaction: a page that fails leaves
everything as it was. What was listed before and is no longer is deleted; a new text is a version; every change of
status, category or quality is an event. Between two fetches single changes come as facts (``apply_provider_change``).
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
SUBMISSION_GRACE = timedelta(minutes=15)  # after so long what we handed in stands in the list, or was not taken
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
    """The list could not be fetched whole. ``sentence`` says why; ``kept`` is it as the sources have it."""

    def __init__(self, sentence: str | Promise) -> None:
        super().__init__(str(sentence))
        self.sentence = str(sentence)
        with translation.override(None):
            self.kept = str(sentence)


@dataclass
class SyncResult:
    """What a fetch changed; ``error`` where it did not come to that."""

    listed: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    kept: int = 0  # ours are newer than what the provider lists
    unreadable: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def sentence(self) -> str:
        if self.error:
            return _("The templates could not be fetched, so nothing was changed. %(why)s") % {"why": self.error}
        parts = [
            ngettext("%d template is listed", "%d templates are listed", self.listed) % self.listed,
            _("%d new") % self.new if self.new else "",
            _("%d changed") % self.changed if self.changed else "",
            _("%d no longer listed") % self.gone if self.gone else "",
            _("%d newer here and left unchanged") % self.kept if self.kept else "",
            _("%d could not be read") % len(self.unreadable) if self.unreadable else "",
        ]
        if not (self.new or self.changed or self.gone):
            parts.insert(1, _("nothing has changed"))
        return ", ".join(part for part in parts if part) + "."


def may_sync(api_channel: ApiChannel) -> bool:
    return api_channel.kind in messengers() and api_channel.provider.lists_templates


def sync_channel(api_channel: ApiChannel) -> SyncResult:
    """Fetch and take over. Never raises for what the provider does; the result says what happened."""
    with exclusive(LockSpace.TEMPLATES, api_channel.pk) as mine:
        if not mine:
            return SyncResult(error=_("A synchronization is already running."))
        try:
            result = apply_list(api_channel, fetch_list(api_channel))
        except IntegrityError:
            return SyncResult(error=_("Another user is creating the same template. Try again."))
        except FetchFailed as problem:
            _save_sync_state(api_channel, error=problem.kept)
            return SyncResult(error=problem.sentence)
        _save_sync_state(api_channel)
        return result


def sync_due_channels() -> int:
    """Fetch for every channel whose time has come; for how many."""
    kinds = [kind for kind, provider in messengers().items() if provider.lists_templates]
    now = timezone.now()
    due = ApiChannel.objects.filter(
        Q(registry=None) | Q(registry__next_sync_at=None) | Q(registry__next_sync_at__lte=now), kind__in=kinds
    )
    done = 0
    for api_channel in due.exclude(state=ChannelState.PAUSED).order_by("registry__next_sync_at", "pk"):
        # Taken off the list first: one that breaks this run off does not keep the others waiting next time.
        with CHANNELS.isolate(api_channel.pk):
            Registry.objects.update_or_create(api_channel=api_channel, defaults={"next_sync_at": now + RETRY_INTERVAL})
            result = sync_channel(api_channel)
            done += 1
            if result.error:
                logger.warning("templates not fetched", extra={"channel": api_channel.pk})
    return done


def fetch_list(api_channel: ApiChannel) -> list[Json]:
    """All rows of the provider's list. Raises FetchFailed."""
    account, provider = api_channel.account(), api_channel.provider
    rows: list[Json] = []
    after, seen = "", {""}
    for _number in range(MAX_PAGES):
        try:
            made = provider.fetch_templates(account, after=after)
            page = made if isinstance(made, TemplatePage) else _fetch_page(api_channel, made)
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
        answer: ApiResponse = http_client.send(request, max_bytes=MAX_PAGE_BYTES)
    except http_client.ForbiddenAddress as problem:
        raise FetchFailed(str(problem)) from problem
    except http_client.ConnectionFailed as problem:
        raise FetchFailed(FAILURES.get(problem.reason, problem.reason)) from problem
    except http_client.NoResponse as problem:
        raise FetchFailed(gettext_lazy("The provider did not answer in time.")) from problem
    outcome = api_channel.provider.judge_response(answer)
    if outcome.verdict != ACCEPTED:
        raise FetchFailed(describe_refusal(outcome, answer))
    return api_channel.provider.read_templates(answer)


def describe_refusal(outcome: Outcome, answer: ApiResponse) -> str:
    """Why they would not: in their words, where they used any."""
    title, details = outcome.title.strip().rstrip("."), outcome.details.strip()
    said = details if not title or title in details else f"{title}: {details}".rstrip(": ")
    if said:
        code = f" ({outcome.code})" if outcome.code and outcome.code not in said else ""
        return _("The provider says: %(words)s") % {"words": said[:500] + code}
    known = FAILURES.get(outcome.reason)
    return str(known or _("The provider refused (HTTP %(status)s).") % {"status": answer.status})


# --- take over -------------------------------------------------------------------------------------------

BY_SYNC = ChangeAuthor(source=Source.SYNC)


@transaction.atomic
def apply_list(api_channel: ApiChannel, rows: list[Json]) -> SyncResult:
    """A complete list becomes the registry's state."""
    result = SyncResult(listed=len(rows))
    ours = list(Template.objects.filter(api_channel=api_channel).select_for_update().order_by("pk"))
    by_id = {template.external_id: template for template in ours if template.external_id}
    by_key = {(template.name, template.language): template for template in ours}
    seen: set[int] = set()
    new: dict[tuple[str, str], Template] = {}
    for row in rows:
        try:
            one = provider_template.parse_row(row)
        except InvalidTemplateData as problem:
            result.unreadable.append(str(problem.sentence))
            seen |= {template.pk for template in _referenced(row, by_id, by_key)}
            continue
        template = by_id.get(one.external_id) if one.external_id else None
        template = template or by_key.get(one.key)
        if template is None:
            made = provider_template.build_template(one, api_channel_id=api_channel.pk, external_id=one.external_id)
            new.setdefault(one.key, made)
        elif template.pk not in seen:
            seen.add(template.pk)
            _apply_row(template, one, result)
    result.new = len(lifecycle.create_many(list(new.values()), by=BY_SYNC))
    for template in ours:
        if template.pk not in seen:
            result.gone += _mark_unlisted(template)
    return result


def _mark_unlisted(template: Template) -> bool:
    """Only the provider gives ids, so one without was never listed: it is a draft of ours, or from a file."""
    if template.external_id and template.status == Status.DRAFT:
        # The text that the provider had is gone, and ours was never handed in: it will be a new one there.
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
    """We handed it in, no answer came, and by now it would stand in the list."""
    if template.status != Status.PENDING or not template.api_channel.provider.manages_templates:
        return False
    return template.submitted_at is not None and template.submitted_at < timezone.now() - SUBMISSION_GRACE


def _apply_row(template: Template, one: ProviderTemplate, result: SyncResult) -> None:
    if one.external_id and template.external_id != one.external_id:
        Template.objects.filter(pk=template.pk).update(external_id=one.external_id)
        template.external_id = one.external_id
    if template.provider_status != one.status:
        Template.objects.filter(pk=template.pk).update(provider_status=one.status)
    if _is_ours_newer(template, one):
        if one.status != Status.PENDING and _submission_was_lost(template):
            lifecycle.change_status(template, Status.DRAFT, by=BY_SYNC, reason=_("The provider did not accept it."))
        result.kept += 1
        return
    changed = lifecycle.is_reworded(template, one.pattern)
    if changed:
        # Our labels, hints and examples stay with the variables that are still there.
        lifecycle.change_text(template, apply_variable_rows(one.pattern, template.variables), by=BY_SYNC)
    changed |= provider_template.apply_state(template, one, by=BY_SYNC)
    result.changed += changed


def _is_ours_newer(template: Template, one: ProviderTemplate) -> bool:
    """Written here and not handed in, or not looked at yet: the provider still lists one of our former texts."""
    if template.status not in (Status.DRAFT, Status.PENDING) or not lifecycle.is_reworded(template, one.pattern):
        return False
    theirs = content_key(one.pattern)
    former = TemplateVersion.objects.filter(template=template).select_related("template")
    return any(content_key(version.pattern) == theirs for version in former)


def _referenced(row: object, by_id: dict[str, Template], by_key: dict[tuple[str, str], Template]) -> Iterator[Template]:
    """The template of ours that an unreadable row is about: it stays as it is."""
    if not isinstance(row, dict):
        return
    for template in (by_id.get(str(row.get("id"))), by_key.get((str(row.get("name")), str(row.get("language"))))):
        if template is not None:
            yield template


def _save_sync_state(api_channel: ApiChannel, *, error: str = "") -> None:
    now = timezone.now()
    told = {"next_sync_at": now + (RETRY_INTERVAL if error else SYNC_INTERVAL), "sync_error": error}
    Registry.objects.update_or_create(api_channel=api_channel, defaults=told if error else {**told, "synced_at": now})


# --- single changes, as the provider tells them ----------------------------------------------------------


def apply_provider_change(api_channel: ApiChannel, fact: TemplateChanged) -> None:
    """A template was approved, paused… In the caller's transaction.

    One that the registry does not have is noted without its text, so that an admin sees it, and the list is due.
    """
    by = ChangeAuthor(source=Source.PROVIDER)
    status = provider_template.parse_status(fact.status)
    template = _find_template(api_channel, fact)
    if template is not None:
        _apply_change(template, fact, status, by=by)
        return
    schedule_sync(api_channel.pk)
    if not fact.name or not fact.language:
        logger.warning("news of an unknown template", extra={"channel": api_channel.pk})
        return
    noted = Template(
        api_channel=api_channel,
        name=fact.name,
        language=fact.language,
        status=Status.UNKNOWN,
        external_id=fact.external_id,
        components=[],
    )
    try:
        with transaction.atomic():
            why = _("The provider reports “%(status)s”, but the text has not been synchronized yet.")
            lifecycle.create(noted, by=by, reason=why % {"status": Status(status or Status.UNKNOWN).label})
    except IntegrityError:  # somebody else has just made it
        apply_provider_change(api_channel, fact)


def _apply_change(template: Template, fact: TemplateChanged, status: str, *, by: ChangeAuthor) -> None:
    if fact.external_id and not template.external_id:
        Template.objects.filter(pk=template.pk).update(external_id=fact.external_id)
        template.external_id = fact.external_id
    if status:
        Template.objects.filter(pk=template.pk).update(provider_status=status)
    # A draft of a text that the provider has is another text: what is said of the former one does not concern it.
    if status and not (template.status == Status.DRAFT and template.provider_status):
        lifecycle.change_status(template, status, by=by, reason=fact.reason)
    if fact.quality in Quality.values:
        lifecycle.change_quality(template, fact.quality, by=by)
    if fact.category:
        lifecycle.change_category(template, fact.category[:40], by=by)
    if fact.next_category:
        lifecycle.announce_category(template, fact.next_category[:40], at=fact.next_category_at, by=by)
    if fact.reread:  # what it says now stands in the list alone
        schedule_sync(template.api_channel_id)


def schedule_sync(api_channel_id: int) -> None:
    """The list is due now: something there is not as we have it."""
    Registry.objects.update_or_create(api_channel_id=api_channel_id, defaults={"next_sync_at": timezone.now()})


def _find_template(api_channel: ApiChannel, fact: TemplateChanged) -> Template | None:
    mine = Template.objects.filter(api_channel=api_channel)
    found = mine.filter(external_id=fact.external_id).first() if fact.external_id else None
    return found or mine.filter(name=fact.name, language=fact.language).first()
