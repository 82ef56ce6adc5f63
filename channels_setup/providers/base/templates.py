"""Templates at the provider: pages of its list, limits on edits, results of a submission."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.codecs.values import as_text

from .accounts import Json

MAX_TEMPLATE_LIST_VALUES = 1_000_000  # JSON values in one page of a provider's list


@dataclass(frozen=True, kw_only=True)
class TemplatePage:
    """One page of an account's templates. ``after`` is the cursor of the next page; empty on the last one.

    Each row has the shape of the Graph API's template list.
    """

    rows: tuple[Json, ...]
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class SubmittedTemplate:
    """State of a template that was just submitted. A field is empty if the response does not contain it."""

    external_id: str = ""
    status: str = ""
    category: str = ""


@dataclass(frozen=True, kw_only=True)
class TemplateEditRules:
    """Limits on edits of a template that the provider already has. None: no limit."""

    editable: tuple[str, ...] | None = None  # statuses, as in the provider's list
    approved_edits_per_day: int | None = None
    approved_edits_per_month: int | None = None
    keeps_category_when_approved: bool = False


def read_template_list(body: bytes) -> TemplatePage:
    """Read a page of the Graph API's list. Raises BadBody.

    The shape is ``{"data": [...], "paging": {"cursors": {"after": …}, "next": …}}``; without ``next`` it is the last.
    """
    answer = parse_json_object(body, most_values=MAX_TEMPLATE_LIST_VALUES)
    rows, paging = answer.get("data"), answer.get("paging") or {}
    if not isinstance(rows, list) or not isinstance(paging, dict):
        raise BadBody(_("The provider's answer is not a list of templates."))
    if not paging.get("next"):
        return TemplatePage(rows=tuple(rows))
    cursors = paging.get("cursors")
    after = as_text(cursors.get("after")) if isinstance(cursors, dict) else ""
    if not after:
        raise BadBody(_("The provider's list of templates has another page, but no cursor for it."))
    return TemplatePage(rows=tuple(rows), after=after)
