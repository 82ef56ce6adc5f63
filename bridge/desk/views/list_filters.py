"""Filters of the chat list and of the requests table: the fields, and a chip for each filter that is set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge.desk import filters, tags, teams
from bridge.desk.chat_list import listing
from bridge.models import Ticket
from channels_setup.models import ChatChannel, Team

from . import bulk_actions

Field = dict[str, Any]


def build_chat_fields(user: Any, params: listing.ChatListParams, channels: Sequence[ChatChannel]) -> list[Field]:
    """Build the filter fields of the chat list."""
    ids = [channel.pk for channel in channels]
    people = bulk_actions.list_channel_assignees(user, ids)
    fields = build_shared_fields(params, channels, people=people, known_teams=teams.list_teams(ids))
    sort = _field("sort", pgettext("of a list", "Order"), params.sort, listing.SORTS.items())
    window = _field("window", _("Window"), params.window, [("", _("Any window")), *listing.WINDOWS.items()])
    return [sort, fields[0], window, *fields[1:]]


def build_shared_fields(
    params: filters.SharedFilters,
    channels: Sequence[ChatChannel],
    *,
    people: Iterable[dict[str, Any]],
    known_teams: Sequence[Team],
) -> list[Field]:
    """Build the filter fields that both pages have: status, assignee, team, channel."""
    statuses: list[tuple[str, Any]] = [("", _("Any status")), (filters.LIVE, _("Not closed"))]
    statuses += [(str(value), label) for value, label in Ticket.Status.choices]
    assignees = [("", _("Any assignee")), (filters.ME, _("Mine")), (filters.NOBODY, _("No assignee"))]
    # "Mine" means the user, unless a shared view names them.
    listed = [person for person in people if not person["is_me"] or params.assignee == str(person["pk"])]
    assignees += [(str(person["pk"]), person["name"]) for person in listed]
    fields = [
        _field("status", _("Status"), params.status, statuses),
        _field("assignee", _("Assignee"), params.assignee, assignees),
    ]
    if known_teams:
        fields.append(_field("team", _("Team"), params.team, teams.filter_options(known_teams)))
    if len(channels) > 1:
        options = [("", _("All channels")), *((str(channel.pk), channel.name) for channel in channels)]
        fields.append(_field("channel", _("Channel"), str(params.channel or ""), options))
    return fields


def period_options() -> list[tuple[str, Any]]:
    return [("", _("Any time")), *filters.PERIODS.items()]


def build_chips(
    params: Any,
    filter_fields: Iterable[Field],
    *,
    names: Iterable[str],
    channels: Sequence[ChatChannel],
    is_used_tag: Callable[[str], bool],
) -> list[dict[str, str]]:
    """List the filters that are set, each with the query string of the page without it.

    ``problem``: why the filter finds nothing, or only what is left: what it names is gone.
    """
    fields = {field["name"]: field for field in filter_fields}
    chips = []
    for name in [name for name in names if name in params.non_default]:
        value = params.non_default[name]
        words, problem = _describe_filter(name, value, fields, channels, is_used_tag)
        rest = {key: one for key, one in params.non_default.items() if key != name}
        address = f"?{urlencode(rest)}" if rest else ""
        chips.append({"name": name, "words": words, "problem": problem, "address": address})
    return chips


def is_used_tag(tag: str) -> bool:
    return bool(tags.find_used_tags([tag]))


def _describe_filter(
    name: str,
    value: str,
    fields: Mapping[str, Field],
    channels: Sequence[ChatChannel],
    is_used_tag: Callable[[str], bool],
) -> tuple[str, str]:
    """Return the words of a chip, and what is wrong with the filter or an empty string."""
    if name in ("since", "until"):
        day = formats.date_format(date.fromisoformat(value), "SHORT_DATE_FORMAT")
        return (_("from %(day)s") if name == "since" else _("until %(day)s")) % {"day": day}, ""
    if name == "period":
        return str(filters.PERIODS[value]), ""
    if name == "tag":
        return f"#{value}", "" if is_used_tag(value) else _("Nothing has the tag “%(tag)s” now.") % {"tag": value}
    options = {str(key): str(text) for key, text in fields[name]["options"]} if name in fields else {}
    if name == "channel":
        options |= {str(channel.pk): channel.name for channel in channels}  # the only one has no field
    if value in options:
        return options[value], ""
    if name == "team" and value == teams.MINE:
        return _("My teams"), ""
    return {
        "channel": (
            _("Unknown channel"),
            _("The channel of this filter was deleted, or you do not have access to it."),
        ),
        "team": (_("Unknown team"), _("The team of this filter was deleted, or serves none of your channels.")),
        "assignee": (
            _("Former colleague"),
            _("The assignee of this filter was deleted, or does not work in your channels any more."),
        ),
    }.get(name, (value, ""))


def _field(name: str, title: Any, value: str, options: Iterable[tuple[str, Any]]) -> Field:
    return {"name": name, "title": title, "value": value, "options": list(options)}
