"""Table of requests: parameters from the query string, and the requests in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection, transaction
from django.db.models import BooleanField, Exists, F, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from bridge.desk import filters
from bridge.desk.chat_list import view_counts
from bridge.desk.parameters import parse_int
from bridge.desk.statement_timeouts import raise_unless_timeout
from bridge.desk.tags import REQUESTS_WITH_TAG_SQL
from bridge.models import Contact, ServiceWindow, Ticket
from channels_setup.codecs.values import parse_iso_time
from channels_setup.providers import messengers

NEWEST, OLDEST, WINDOW = "newest", "oldest", "window"  # orders; the last one shows open windows only
SORTS = (NEWEST, OLDEST, WINDOW)
FILTERS = ("status", "assignee", "team", "channel", "tag", "period", "since", "until")
# With a rare tag. ARRAY makes PostgreSQL find them first, instead of reading all requests in order.
RARE_TAG_SQL = f"""bridge_ticket.id = ANY(ARRAY(SELECT found.id FROM (SELECT %s AS tag) wanted
    CROSS JOIN LATERAL ({REQUESTS_WITH_TAG_SQL}) found))"""


@dataclass(frozen=True, kw_only=True)
class RequestTableParams(filters.SharedFilters):
    """Filters, order and cursor of the table, from the query string. Days are those on which requests were opened."""

    sort: str = NEWEST
    cursor: tuple[datetime, int] | None = None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> RequestTableParams:
        sort = values.get("sort", "")
        return cls(
            sort=sort if sort in SORTS else NEWEST,
            cursor=_parse_cursor(values.get("after", "")),
            **filters.parse_shared(values),
        )

    @property
    def non_default(self) -> dict[str, str]:
        values = self.shared_values | {"sort": "" if self.sort == NEWEST else self.sort}
        return {key: value for key, value in values.items() if value}

    @property
    def filters(self) -> int:
        """Count the filters that are set."""
        return sum(key in self.non_default for key in FILTERS)

    @property
    def address(self) -> str:
        """Return the query string of this page of the table."""
        after = {"after": f"{self.cursor[0].isoformat()}~{self.cursor[1]}"} if self.cursor else {}
        return urlencode(self.non_default | after)

    def sorted_by(self, sort: str) -> str:
        return "?" + urlencode(replace(self, sort=sort, cursor=None).non_default)


def find_tickets(params: RequestTableParams, *, channels: Sequence[int], user: Any, now: datetime) -> QuerySet[Ticket]:
    """Find the tickets in order."""
    found: QuerySet[Any] = filter_tickets(params, channels=channels, user=user, now=now)
    # Prefetched, because few distinct objects serve all rows; a join would build one per row.
    found = found.select_related("conversation__contact", "conversation__helpdesk_chat").prefetch_related(
        "assignee", "team", "conversation__api_channel", "conversation__chat_channel__helpdesk_connection"
    )
    if params.sort == WINDOW:
        if params.cursor:
            moment, pk = params.cursor
            found = found.filter(closes_at__gte=moment).filter(Q(closes_at__gt=moment) | Q(pk__gt=pk))
        return found.order_by("closes_at", "pk")
    if params.cursor:
        moment, pk = params.cursor
        # The first bound lets the index start at the right place; the second resolves equal times.
        if params.sort == NEWEST:
            found = found.filter(opened_at__lte=moment).filter(Q(opened_at__lt=moment) | Q(pk__lt=pk))
        else:
            found = found.filter(opened_at__gte=moment).filter(Q(opened_at__gt=moment) | Q(pk__gt=pk))
    return found.order_by("opened_at", "pk") if params.sort == OLDEST else found.order_by("-opened_at", "-pk")


def filter_tickets(
    params: RequestTableParams,
    *,
    channels: Sequence[int],
    user: Any,
    now: datetime,
    lookups: filters.Lookups | None = None,
) -> QuerySet[Ticket]:
    """Find the tickets, unordered. Channel IDs are passed as numbers, so that PostgreSQL can plan by their frequency.

    ``lookups``: values that were read for many tables at once.
    """
    lookups = lookups or filters.Lookups(user=user)
    channel_ids = [pk for pk in channels if params.channel in (None, pk)]
    found = Ticket.objects.filter(conversation__chat_channel__in=channel_ids)
    if params.status == filters.LIVE:
        found = found.exclude(status__in=Ticket.ENDED)
    elif params.status:
        found = found.filter(status=int(params.status))
    if params.assignee == filters.NOBODY:
        found = found.filter(assignee=None)
    elif params.assignee:
        found = found.filter(assignee=user.pk if params.assignee == filters.ME else int(params.assignee))
    if params.team:
        found = found.filter(team__in=lookups.list_teams(params.team))
    if params.tag:
        found = found.filter(_tag_condition(params.tag, is_frequent=lookups.is_frequent(params.tag)))
    since, until = params.day_bounds
    if since:
        found = found.filter(opened_at__gte=since)
    if until:
        found = found.filter(opened_at__lt=until)
    return _with_open_window(found, now=now) if params.sort == WINDOW else found


def count_tickets(
    views: Mapping[int, RequestTableParams], *, channels: Sequence[int], user: Any, now: datetime, cap: int
) -> dict[int, int]:
    """Count the requests of each view, at most ``cap``, with a constant number of statements.

    Empty if the counts take too long.
    """
    if not views:
        return {}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            view_counts.limit_time(cursor)
            lookups = filters.Lookups(user=user, frequent_tags=view_counts.find_frequent(views.values()))
            columns: list[str] = []
            values: list[Any] = []
            for params in views.values():
                found = filter_tickets(params, channels=channels, user=user, now=now, lookups=lookups)
                try:
                    # In the order of the table: PostgreSQL would begin with the newest chats, whatever the filter is.
                    order = ("closes_at", "pk") if params.sort == WINDOW else ("-opened_at", "-pk")
                    sql, own_values = found.order_by(*order).values("pk")[:cap].query.sql_with_params()
                except EmptyResultSet:
                    columns.append("0")
                else:
                    columns.append(f"(SELECT count(*) FROM ({sql}) capped)")
                    values += own_values
            cursor.execute(f"SELECT {', '.join(columns)}", values)
            return dict(zip(views, cursor.fetchone(), strict=True))
    except OperationalError as problem:
        raise_unless_timeout(problem)
        return {}


def _tag_condition(tag: str, *, is_frequent: bool) -> Q | RawSQL:
    if not is_frequent:
        return RawSQL(RARE_TAG_SQL, [tag], output_field=BooleanField())
    clients = Contact.objects.filter(pk=OuterRef("conversation__contact_id"), tags__contains=[tag])
    return Q(tags__contains=[tag]) | Q(Exists(clients))


def _with_open_window(found: QuerySet[Ticket], *, now: datetime) -> QuerySet[Ticket]:
    """Return the live requests with an open window."""
    unrestricted = [kind for kind, provider in messengers().items() if not provider.service_window]
    found = found.exclude(status__in=Ticket.ENDED).exclude(conversation__api_channel__kind__in=unrestricted)
    return found.filter(
        conversation__windows__state=ServiceWindow.State.OPEN, conversation__windows__expires_at__gt=now
    ).annotate(closes_at=F("conversation__windows__expires_at"))


def _parse_cursor(text: str) -> tuple[datetime, int] | None:
    """Parse ``<time>~<id>`` of the previous page's last row. Return None for an invalid cursor."""
    moment_text, _tilde, number = text.rpartition("~")
    pk = parse_int(number)
    at = parse_iso_time(moment_text)
    return (at, pk) if at is not None and pk is not None else None
