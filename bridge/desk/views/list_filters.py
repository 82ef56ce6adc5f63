"""Filters of the chat list: the fields of the menu, and a chip for each filter that is set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from django.http import HttpRequest
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge.desk import teams
from bridge.desk.chat_list import listing
from bridge.models import Ticket
from channels_setup.models import ChatChannel

from . import bulk_actions


def build_fields(
    request: HttpRequest, params: listing.ChatListParams, channels: Sequence[ChatChannel]
) -> list[dict[str, Any]]:
    """Build the filter fields of the list with their options."""
    statuses: list[tuple[str, Any]] = [("", _("Any status")), (listing.LIVE, _("Not closed"))]
    statuses += [(str(value), label) for value, label in Ticket.Status.choices]
    fields = [
        ("sort", pgettext("of a list", "Order"), params.sort, list(listing.SORTS.items())),
        ("status", _("Status"), params.status, statuses),
        ("window", _("Window"), params.window, [("", _("Any window")), *listing.WINDOWS.items()]),
    ]
    if len(channels) > 1:
        options = [("", _("All channels")), *((str(channel.pk), channel.name) for channel in channels)]
        fields.append(("channel", _("Channel"), str(params.channel or ""), options))
    if found := teams.list_teams([channel.pk for channel in channels]):
        fields.append(("team", _("Team"), params.team, teams.filter_options(found)))
    people = bulk_actions.list_channel_assignees(request.user, [channel.pk for channel in channels])
    assignees = [("", _("Any assignee")), (listing.ME, _("Mine")), (listing.NOBODY, _("No assignee"))]
    assignees += [(str(person["pk"]), person["name"]) for person in people if not person["is_me"]]
    fields.append(("assignee", _("Assignee"), params.assignee, assignees))
    return [
        {"name": name, "title": title, "value": value, "options": options} for name, title, value, options in fields
    ]


def build_chips(params: listing.ChatListParams, filter_fields: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """List the filters that are set, each with the address of the list without it."""
    fields = {field["name"]: field for field in filter_fields}
    chips = []
    for name in [name for name in listing.FILTERS if name in params.non_default]:
        value = params.non_default[name]
        if name in ("since", "until"):
            day = formats.date_format(date.fromisoformat(value), "SHORT_DATE_FORMAT")
            words = _("from %(day)s") % {"day": day} if name == "since" else _("until %(day)s") % {"day": day}
        elif name == "tag":
            words = f"#{value}"
        else:
            options = {str(key): str(text) for key, text in fields[name]["options"]} if name in fields else {}
            words = options.get(value, value)
        rest = {key: one for key, one in params.non_default.items() if key != name}
        chips.append({"words": words, "address": listing.list_query_string(rest)})
    return chips
