"""Per-process cache of each account's match index.

An index is built once per registry version. Before each use the version is compared with the database (one row by
primary key), so that the index is never stale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel

from .content import sendability
from .content.graph_format import InvalidTemplate
from .lifecycle import is_reworded
from .matching.matcher import MatchIndex
from .matching.result import IndexEntry, MatchResult
from .models import Registry, Status, Template, TemplateVersion

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

logger = logging.getLogger(__name__)

# Why a template that is not approved cannot be sent now. Shown after the template's name.
UNSENDABLE_REASONS = {
    Status.DRAFT: _("it has not been sent for approval yet"),
    Status.PENDING: _("it is still waiting for approval"),
    Status.REJECTED: _("it was rejected"),
    Status.PAUSED: _("WhatsApp has paused it"),
    Status.DISABLED: _("WhatsApp has disabled it"),
    Status.IN_APPEAL: _("its rejection is being appealed"),
    Status.ARCHIVED: _("it is archived"),
    Status.PENDING_DELETION: _("it is being deleted"),
    Status.LIMIT_EXCEEDED: _("the provider's template limit is reached"),
    Status.UNKNOWN: _("its status at the provider is unknown"),
}

_indexes: dict[int, tuple[int, MatchIndex]] = {}
_building = Lock()


def recognize_template(api_channel: ApiChannel, text: str) -> MatchResult:
    """Match a pasted text against the account's templates; see ``matcher``."""
    return get_index(api_channel).recognize(text)


def get_index(api_channel: ApiChannel) -> MatchIndex:
    """Return the account's index, built from the current texts."""
    version = Registry.objects.filter(pk=api_channel.pk).values_list("version", flat=True).first() or 0
    cached = _indexes.get(api_channel.pk)
    if cached is not None and cached[0] == version:
        return cached[1]
    with _building:
        cached = _indexes.get(api_channel.pk)
        if cached is not None and cached[0] == version:
            return cached[1]
        # The texts are read after the version: an index may be newer than its number, never older.
        index = MatchIndex(_build_entries(api_channel))
        _indexes[api_channel.pk] = (version, index)
        return index


def _unsendable_reason(template: Template) -> StrOrPromise:
    """Return why a template cannot be sent now, or an empty string."""
    if template.status != Status.APPROVED:
        return UNSENDABLE_REASONS.get(Status(template.status), "")
    return sendability.list_missing_parts(template.missing) if template.missing else ""


def _build_entries(api_channel: ApiChannel) -> Iterator[IndexEntry]:
    # Values of buttons and media cannot be pasted. Providers that accept the text alone add them themselves.
    text_only = not api_channel.provider.sends_template_values
    templates = Template.objects.filter(api_channel=api_channel).exclude(status=Status.DELETED)
    templates = templates.select_related("api_channel")
    for template in templates.iterator():
        try:
            if not template.definition.body:
                continue  # reported by the provider before its text was synchronized
            yield IndexEntry(
                template.definition,
                ident=template.pk,
                unsendable_reason=_unsendable_reason(template),
                text_only=text_only,
            )
        except InvalidTemplate:
            logger.warning("template not readable", extra={"template": template.pk})
    previous = TemplateVersion.objects.filter(
        template__api_channel=api_channel, template__status=Status.APPROVED, was_approved=True
    )
    for version in previous.select_related("template").iterator():
        if version.components != version.template.components and is_reworded(version.template, version.definition):
            yield IndexEntry(version.definition, ident=version.template_id, previous=True, text_only=text_only)
