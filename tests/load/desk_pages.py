"""Pages of the desk that the benchmark measures: each list with its tabs and filters, threads, searches, the poll."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

LIST, CHAT = {"HX-Request": "true", "HX-Target": "list"}, {"HX-Request": "true", "HX-Target": "chat"}


@dataclass(frozen=True, kw_only=True)
class Page:
    name: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    is_admins: bool = False  # of the admin, who sees reports
    statuses: tuple[int, ...] = (200,)


def list_pages(operator: Any) -> Iterator[Page]:
    """Yield the pages for a signed-in test client of an operator."""
    yield from list_chat_lists(operator)
    yield from list_searches()
    yield from list_threads()
    yield from list_polls(operator)
    yield from list_tables()


def list_chat_lists(operator: Any) -> Iterator[Page]:
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    from bridge.models import Conversation
    from channels_setup.models import ChatChannel, Team

    def listed(name: str, **query: Any) -> Page:
        return Page(name=f"list: {name}", address=f"/chats/?{urlencode(query)}", headers=LIST)

    today = timezone.localdate()
    other = get_user_model()._default_manager.get(username="operator3").pk
    newcomer = get_user_model()._default_manager.get(username="newcomer").pk
    rare = ChatChannel.objects.order_by("-pk")[0].pk
    team = Team.objects.order_by("pk")[0].pk
    oldest = Conversation.objects.order_by("last_message_at")[0].last_message_at.isoformat()
    yield listed("first page")
    yield _older_rows(operator, "older rows", "/chats/")
    for tab in ("waiting", "mine", "unassigned", "mentioned", "snoozed"):
        yield listed(f"tab {tab}", tab=tab)
    for tab in ("waiting", "mine", "unassigned"):
        yield _older_rows(operator, f"tab {tab}, older rows", f"/chats/?tab={tab}")
    for window in ("open", "closing", "closed"):
        yield listed(f"window {window}", window=window)
        yield listed(f"tab mine, window {window}", tab="mine", window=window)
    for sort in ("left", "newest"):
        yield listed(f"sorted by {sort}", sort=sort)
        yield listed(f"tab mine, sorted by {sort}", tab="mine", sort=sort)
    yield listed("last page", sort="newest", after=f"newest~{oldest}~9")
    for name, status in (("not closed", "live"), ("closed", 3), ("solved", 2), ("spam", 7), ("on hold", 5)):
        yield listed(f"status {name}", status=status)
    yield listed("status solved, sorted by left", status=2, sort="left")
    yield listed("assignee: a colleague", assignee=other)
    yield listed("assignee: without chats", assignee=newcomer)
    yield listed("assignee: nobody", assignee="none")
    yield listed("channel with few chats", channel=rare)
    yield listed("team", team=team)
    yield listed("team, sorted by left", team=team, sort="left")
    tags = {"of 5 %": "возврат", "of 1 %": "опт", "of 0.2 %": "VIP", "of old chats": "каталог 2024", "unknown": "?"}
    for name, tag in tags.items():
        yield listed(f"tag {name}", tag=tag)
    for name, since, until in (
        ("today", 0, 0),
        ("last week", 7, 1),
        ("a year ago", 380, 350),
        ("since a year", 365, 0),
    ):
        days = {"since": today - timedelta(days=since), "until": today - timedelta(days=until)}
        yield listed(f"days: {name}", **days)
    yield listed("tag, assignee and days", tag="опт", assignee=other, since=today - timedelta(days=90))


def _older_rows(operator: Any, name: str, address: str) -> Page:
    """Return the page after the first one, by its link."""
    found = re.search(r'href="(/chats/\?[^"]*)" data-more', operator.get(address, headers=LIST).content.decode())
    assert found, address
    return Page(name=f"list: {name}", address=html.unescape(found[1]), headers=LIST)


def list_searches() -> Iterator[Page]:
    from bridge.models import Contact, Ticket

    contact = Contact.objects.exclude(name="").order_by("-pk")[10]
    queries = {
        "name": contact.name.split()[-1],
        "full name": contact.name,
        "whole phone": f"+{contact.phone}",
        "end of a phone": contact.phone[-4:],
        "frequent word": "сертификаты",
        "two words": "серый привезли",
        "rare word": "4417",
        "word nobody wrote": "водолаз",
        "request number": f"№{Ticket.objects.order_by('-pk')[10].pk}",
        "tag": "VIP",
        "frequent tag": "возврат",
        "word of notes": "скидку",
    }
    for name, query in queries.items():
        yield Page(name=f"search: {name}", address=f"/chats/?{urlencode({'q': query})}", headers=LIST)


def list_threads() -> Iterator[Page]:
    """Yield pages of threads. A small data set has no long ones: its longest ones are taken."""
    from django.db.models import Count

    from bridge.models import Conversation, Message

    longest = Message.objects.order_by().values_list("conversation").annotate(Count("pk")).order_by("-pk__count")
    (huge, _most), (long, _many) = longest[:2]
    short = Conversation.objects.filter(last_direction="inbound").order_by("-last_message_at")[3].pk
    for name, chat in (("short", short), ("2,000 messages", long), ("10,000 messages", huge)):
        yield Page(name=f"thread: {name}", address=f"/chats/{chat}/", headers=CHAT)
    ids = list(Message.objects.filter(conversation=huge).order_by("pk").values_list("pk", "created_at"))
    middle, at = ids[len(ids) // 2]
    places = {"older messages": f"before={middle}", "jump to a date": f"at=d{at.date()}", "a message": f"at={middle}"}
    for name, query in places.items():
        yield Page(name=f"thread: 10,000 messages, {name}", address=f"/chats/{huge}/?{query}", headers=CHAT)
    yield Page(name="thread: with the list on one page", address=f"/chats/{short}/")


def list_polls(operator: Any) -> Iterator[Page]:
    from bridge.models import Conversation

    chat = Conversation.objects.filter(last_direction="outbound", unread=0).order_by("-last_message_at")[0].pk
    first = json.loads(operator.get(f"/chats/updates/?chat={chat}").content)
    headers = {"Okno-Poll-Token": first["poll_token"]}
    known = f"list={first['list']['version']}"
    yield Page(name="poll: idle", address=f"/chats/updates/?{known}", headers=headers, statuses=(200, 204))
    thread = f"chat={chat}&thread={first['thread']['version']}"
    address = f"/chats/updates/?{known}&{thread}"
    yield Page(name="poll: idle, a chat is open", address=address, headers=headers, statuses=(200, 204))
    yield Page(name="poll: the list has changed", address="/chats/updates/?list=-", headers=headers)
    address = f"/chats/updates/?list=-&chat={chat}&thread=-"
    yield Page(name="poll: list and chat have changed", address=address, headers=headers)


def list_tables() -> Iterator[Page]:
    from django.contrib.auth import get_user_model

    from channels_setup.models import ChatChannel, Team

    other = get_user_model()._default_manager.get(username="operator3").pk
    newcomer = get_user_model()._default_manager.get(username="newcomer").pk
    rare, team = ChatChannel.objects.order_by("-pk")[0].pk, Team.objects.order_by("pk")[0].pk
    for query in (
        "", "sort=oldest", "sort=window", "status=live", "status=3", "status=7", "assignee=me", f"assignee={other}",
        f"assignee={newcomer}", "assignee=none", f"team={team}", f"channel={rare}", f"channel={rare}&status=7",
        f"channel={rare}&sort=window", "status=2&sort=window", f"assignee={other}&status=live",
    ):  # fmt: skip
        yield Page(name=f"requests: {query or 'first page'}", address=f"/requests/?{query}")
    for name, query in (("first page", ""), ("by name", "sort=name"), ("tag", "tag=VIP"), ("search", "q=Соколова")):
        yield Page(name=f"contacts: {name}", address=f"/contacts/?{query}")
    for days in (7, 30, 90):
        yield Page(name=f"missed windows: {days} days", address=f"/windows/?days={days}", is_admins=True)
