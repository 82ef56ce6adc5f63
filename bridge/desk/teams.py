"""Teams on the pages of the desk: filter, options and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from bridge.desk.parameters import parse_int
from channels_setup.models import Team
from channels_setup.prepared_queries import PreparedQuery

MINE = "mine"  # value of the filter: teams that the user is a member of


def _teams_of_channels(*channels: int) -> QuerySet[Team]:
    served = Team.chat_channels.through.objects.filter(chatchannel__in=channels)
    return Team.objects.filter(pk__in=served.values("team"))


TEAMS_OF_CHANNELS: PreparedQuery[Team] = PreparedQuery(_teams_of_channels)


def list_teams(channels: Sequence[int]) -> list[Team]:
    """List the teams that serve one of these chat channels, by name, with one query."""
    return TEAMS_OF_CHANNELS(*channels) if channels else []


def parse_filter(value: str) -> str:
    """Return the value of the team filter from a query string, or an empty string if it is invalid."""
    return value if value == MINE or parse_int(value) else ""


def filtered_ids(value: str, user: Any) -> list[int]:
    """Return the IDs of the teams that a filter value selects."""
    if value == MINE:
        return list(Team.members.through.objects.filter(user=user.pk).values_list("team", flat=True))
    return [int(value)]


def filter_options(found: Sequence[Team]) -> list[tuple[str, str]]:
    """Return the options of the filter as (value, text)."""
    return [("", _("Any team")), (MINE, _("My teams")), *((str(team.pk), team.name) for team in found)]
