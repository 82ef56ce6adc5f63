"""Pages of contacts: filters, order and search at a bounded cost.

A page reads candidates from one index in chunks, and checks in the same statement which of them the user may see. It
gives up after MAX_CHUNKS and continues from there on the next page, so a filter that matches few of a million contacts
costs as much as one that matches all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.http import QueryDict

from bridge.conversations import merge_lookup, opt_out_filters
from bridge.desk.chat_list import search
from bridge.desk.parameters import parse_int
from bridge.models import ConsentSource, Contact, OptOut
from channels_setup.models import ApiChannel, ChatChannel

PAGE = 50
CHUNK, MAX_CHUNKS = 1_000, 5  # candidates read at once, and chunks per page
MAX_HITS = 1_000  # of a search
NEWEST, OLDEST, NAME = "newest", "oldest", "name"
SORTS = (NEWEST, OLDEST, NAME)
OPT_OUTS = ("any", "none", OptOut.ALL.value, OptOut.MARKETING.value)
CONSENTS = ("recorded", "missing", *ConsentSource.values)


@dataclass(frozen=True, kw_only=True)
class ContactParams:
    """Search, filters, order and cursor of the page, from the query string."""

    query: str = ""
    channel: int | None = None
    tag: str = ""
    opt_out: str = ""
    consent: str = ""
    sort: str = NEWEST
    after: str = ""

    @classmethod
    def from_request(cls, values: QueryDict) -> ContactParams:
        def choice(name: str, choices: Sequence[str]) -> str:
            return values.get(name, "") if values.get(name, "") in choices else ""

        return cls(
            query=values.get("q", "").replace("\0", "").strip()[:80],
            channel=parse_int(values.get("channel")),
            tag=values.get("tag", "").replace("\0", "").strip()[:40],
            opt_out=choice("opt_out", OPT_OUTS),
            consent=choice("consent", CONSENTS),
            sort=choice("sort", SORTS) or NEWEST,
            after=values.get("after", "").replace("\0", "")[:220],
        )

    @property
    def non_default(self) -> dict[str, str]:
        values = {
            "q": self.query,
            "channel": str(self.channel or ""),
            "tag": self.tag,
            "opt_out": self.opt_out,
            "consent": self.consent,
            "sort": "" if self.sort == NEWEST else self.sort,
        }
        return {key: value for key, value in values.items() if value}

    @property
    def address(self) -> str:
        return urlencode(self.non_default)

    @property
    def has_filters(self) -> bool:
        return bool(self.query or self.channel or self.tag or self.opt_out or self.consent)


@dataclass(frozen=True, kw_only=True)
class ContactScope:
    """What the user may see: chats of these chat channels, and clients without a chat of these API channels."""

    chat_channels: list[int]
    api_channels: list[int]  # whose default chat channel the user sees
    sees_everything: bool

    @classmethod
    def for_user(cls, user: Any) -> ContactScope:
        visible = set(ChatChannel.objects.list_visible_ids(user))
        defaults: dict[int, int] = {}
        pairs = ApiChannel.watched.through.objects.order_by("-chatchannel_id")
        for api_channel, chat_channel in pairs.values_list("apichannel_id", "chatchannel_id"):
            defaults[api_channel] = chat_channel  # the last one, with the lowest ID, stays
        return cls(
            chat_channels=sorted(visible),
            api_channels=sorted(pk for pk, default in defaults.items() if default in visible),
            sees_everything=visible >= set(ChatChannel.objects.values_list("pk", flat=True)),
        )


@dataclass(kw_only=True)
class ContactPage:
    ids: list[int] = field(default_factory=list)
    next_cursor: str = ""
    is_cut: bool = False  # the search had more hits, or the candidates of this page ran out


VISIBLE_SQL = """(EXISTS (SELECT FROM bridge_conversation c
        WHERE c.contact_id = p.id AND c.chat_channel_id = ANY(%(chat_channels)s))
    OR p.api_channel_id = ANY(%(api_channels)s)
        AND NOT EXISTS (SELECT FROM bridge_conversation c WHERE c.contact_id = p.id))"""
CONSENT_SQL = {
    "recorded": "EXISTS (SELECT FROM bridge_contactconsent k WHERE k.contact_id = p.id AND k.source <> '')",
    "missing": "NOT EXISTS (SELECT FROM bridge_contactconsent k WHERE k.contact_id = p.id AND k.source <> '')",
    "": "EXISTS (SELECT FROM bridge_contactconsent k WHERE k.contact_id = p.id AND k.source = %(consent)s)",
}
TAGGED_SQL = "(SELECT * FROM bridge_contact WHERE tags @> %(query_tag)s::jsonb AND tags <> '[]') p"  # a partial index
# Both conditions are partial indexes of contacts.
CURRENT_SQL = "p.erased_at IS NULL AND p.merged_into_id IS NULL"
CANDIDATES_SQL = """(SELECT p.id, p.api_channel_id, p.name, p.has_merged FROM {source}
    WHERE {candidate} ORDER BY {order} LIMIT %(chunk)s)"""
CHUNK_SQL = """
WITH candidates AS MATERIALIZED (
    SELECT * FROM ({sources}) p ORDER BY {order} LIMIT %(chunk)s
)
SELECT p.id, p.name, {keep} FROM candidates p ORDER BY {order}
"""


def list_contacts(scope: ContactScope, params: ContactParams, *, limit: int = PAGE) -> ContactPage:
    """Return one page of contact IDs in order, with the cursor of the next one."""
    values: dict[str, Any] = {
        "chat_channels": scope.chat_channels,
        "api_channels": scope.api_channels,
        "consent": params.consent,
        "channel": params.channel,
        "tag": json.dumps([params.tag]),
        "query_tag": json.dumps([params.query]),
        "chunk": CHUNK,
    }
    conditions = [] if scope.sees_everything else [VISIBLE_SQL]
    if params.opt_out:
        conditions.append(opt_out_filters.CONDITIONS[params.opt_out])
    if params.consent:
        conditions.append(CONSENT_SQL.get(params.consent, CONSENT_SQL[""]))
    candidate, sources = [CURRENT_SQL], ["bridge_contact p"]
    if params.query:
        values["hits"] = find_hits(scope, params.query)
        # By words, and by the whole tag: a tag may have any number of contacts.
        sources = ["bridge_contact p JOIN (SELECT unnest(%(hits)s::bigint[]) AS id) h ON h.id = p.id", TAGGED_SQL]
    elif params.opt_out not in ("", "none"):
        sources = list(opt_out_filters.SOURCES)
    elif params.consent not in ("", "missing"):
        sources = ["bridge_contact p JOIN bridge_contactconsent o ON o.contact_id = p.id AND o.source <> ''"]
    if params.channel:
        candidate.append("p.api_channel_id = %(channel)s")
    if params.tag:
        candidate.append("p.tags @> %(tag)s::jsonb AND p.tags <> '[]'")
    page = _read_chunks(params, conditions, candidate, sources, values, limit=limit)
    page.is_cut = page.is_cut or len(values.get("hits", ())) >= MAX_HITS
    return page


def _read_chunks(
    params: ContactParams,
    conditions: list[str],
    candidate: list[str],
    sources: list[str],
    values: dict[str, Any],
    *,
    limit: int,
) -> ContactPage:
    by_name = params.sort == NAME
    order = {NEWEST: "p.id DESC", OLDEST: "p.id", NAME: "p.name, p.id"}[params.sort]
    cursor_sql = {
        NEWEST: "p.id < %(last)s",
        OLDEST: "p.id > %(last)s",
        NAME: "(p.name, p.id) > (%(last_name)s, %(last)s)",
    }[params.sort]
    page, cursor = ContactPage(), _parse_cursor(params)
    for _number in range(MAX_CHUNKS):
        wanted = [*candidate]
        if cursor is not None:
            wanted.append(cursor_sql)
            values |= {"last": cursor[0], "last_name": cursor[1]}
        parts = [
            CANDIDATES_SQL.format(source=source, candidate=" AND ".join(wanted), order=order) for source in sources
        ]
        statement = CHUNK_SQL.format(
            sources=" UNION ".join(parts),
            order=order,
            keep=" AND ".join(f"({one})" for one in conditions) or "TRUE",
        )
        with connection.cursor() as database:
            database.execute(statement, values)
            rows = database.fetchall()
        for pk, name, is_kept in rows:
            if is_kept and len(page.ids) == limit:
                page.next_cursor = _format_cursor(cursor, by_name=by_name)
                return page
            if is_kept:
                page.ids.append(pk)
            cursor = (pk, name)
        if len(rows) < CHUNK:
            return page
    page.next_cursor, page.is_cut = _format_cursor(cursor, by_name=by_name), len(page.ids) < limit
    return page


def _parse_cursor(params: ContactParams) -> tuple[int, str] | None:
    number, _tilde, name = params.after.partition("~")
    pk = parse_int(number)
    return None if pk is None else (pk, name)


def _format_cursor(cursor: tuple[int, str] | None, *, by_name: bool) -> str:
    if cursor is None:
        return ""
    return f"{cursor[0]}~{cursor[1]}" if by_name else str(cursor[0])


def find_hits(scope: ContactScope, query: str) -> list[int]:
    """Return up to MAX_HITS contacts found by name, phone, ID or email, without those merged away."""
    found: set[int] = set()
    searches = search.find_contacts(query, api_channels=list(ApiChannel.objects.values_list("pk", flat=True)))
    for people in searches:
        seen = people if scope.sees_everything else merge_lookup.filter_visible_people(people, scope.chat_channels)
        found.update(search.chat_owners(seen).values_list("owner", flat=True)[:MAX_HITS])
    return sorted(found, reverse=True)[:MAX_HITS]


def find_visible_contact(user: Any, pk: int | None) -> Contact | None:
    """Return the contact if the user may see it, and it was neither erased nor merged."""
    if pk is None:
        return None
    scope = ContactScope.for_user(user)
    statement = f"SELECT p.id FROM bridge_contact p WHERE p.id = %(pk)s AND {CURRENT_SQL} AND {VISIBLE_SQL}"
    values: dict[str, Any] = {"pk": pk, "chat_channels": scope.chat_channels, "api_channels": scope.api_channels}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone()
    return Contact.objects.select_related("api_channel").get(pk=row[0]) if row else None
