"""Saved views: whose they are, what they show, their order and numbers, and the filters that both pages share."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.conversations import tickets
from bridge.desk import request_table, tags
from bridge.desk.chat_list import listing, queries, view_counts
from bridge.maintenance import erasure
from bridge.models import Contact, Conversation, SavedView, Ticket
from channels_setup.models import ApiChannel, Team
from channels_setup.roles import Role, assign_role
from config.audit.models import AuditRecord
from tests.factories import ApiChannelFactory, boris, operator, vera
from tests.pages import SCRIPT, list_queries, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def supervisor(channel: ApiChannel) -> Any:
    user = operator("olga", channel.default_chat_channel)
    assign_role(user, role=Role.SUPERVISOR)
    return user


def names(page: str) -> list[str]:
    return re.findall(r'<b class="cut">(.*?)</b>', page)


def requests_of(page: str) -> list[str]:
    return re.findall(r'client-name"><div class="cut">(.*?)</div>', page)


def menu(page: str) -> list[str]:
    """The names in the menu of saved views, in order."""
    links = re.findall(r'data-view="\d+" [^>]*><span class="cut">(.*?)(?: <span.*?)?</span>', page)
    return [html.unescape(link) for link in links]


def save(desk: Client, query: str, name: str = "Срочные", page: str = "chats", **fields: Any) -> SavedView:
    answer = desk.post("/desk/views/add/", {"page": page, "query": query, "name": name, **fields})
    assert answer.status_code == 302, answer.content.decode()
    return SavedView.objects.latest("pk")


def opened(desk: Client, view: SavedView) -> str:
    answer = desk.get(f"/desk/views/{view.pk}/", follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


# --- open, save, change ------------------------------------------------------------------------------------


def test_a_view_is_saved_opened_changed_and_deleted(desk: Client, channel: ApiChannel) -> None:
    tagged = client_writes(channel, "Анна")
    client_writes(channel, "Игорь")
    Ticket.objects.filter(conversation=tagged).update(tags=["vip"])
    assert 'name="query" value="tab=waiting&amp;tag=vip"' in page_html(desk, "/chats/?tab=waiting&tag=vip")

    view = save(desk, "tab=waiting&tag=vip&view=99&after=x&nonsense=1", name="  VIP  клиенты ")

    assert (view.name, view.filters, view.owner) == ("VIP клиенты", {"tab": "waiting", "tag": "vip"}, boris())
    page = opened(desk, view)
    assert names(page) == ["Анна"] and menu(page) == ["VIP клиенты"]
    assert re.search(r'<a class="chip ok".*?<span class="cut">VIP клиенты</span>', page, re.DOTALL)
    assert "Save changes to" not in page and 'id="save-view"' in page and "Save as a view" not in page
    changed = page_html(desk, f"/chats/?tab=waiting&view={view.pk}")
    assert names(changed) == ["Игорь", "Анна"] or names(changed) == ["Анна", "Игорь"]
    assert "Save changes to “VIP клиенты”" in changed and ">changed<" in changed

    answer = desk.post(f"/desk/views/{view.pk}/edit/", {"query": "tab=mine", "chat": tagged.pk})
    assert answer["Location"] == f"/chats/{tagged.pk}/?tab=mine&view={view.pk}"
    desk.post(f"/desk/views/{view.pk}/edit/", {"name": "Мои"})
    view.refresh_from_db()
    assert (view.name, view.filters) == ("Мои", {"tab": "mine"})
    desk.post(f"/desk/views/{view.pk}/edit/", {"delete": "1"})
    assert not SavedView.objects.exists()
    gone = page_html(desk, f"/chats/?tab=waiting&tag=vip&view={view.pk}")
    assert names(gone) == ["Анна"] and "This view was deleted" in gone
    assert desk.get(f"/desk/views/{view.pk}/").status_code == 404


def test_scripts_get_the_address_or_a_sentence(desk: Client, channel: ApiChannel) -> None:
    values = {"page": "chats", "query": "tab=waiting", "name": "Срочные", "chat": client_writes(channel, "Анна").pk}

    answer = desk.post("/desk/views/add/", values, headers=SCRIPT)
    again = desk.post("/desk/views/add/", values | {"query": "tab=mine"}, headers=SCRIPT)

    view = SavedView.objects.get()
    assert answer.json() == {"url": f"/chats/?tab=waiting&view={view.pk}"}
    assert (again.status_code, again.json()) == (422, {"sentence": "Another view has this name."})
    changed = desk.post(f"/desk/views/{view.pk}/edit/", {"query": "tab=mine"}, headers=SCRIPT)
    assert changed.json() == {"url": f"/chats/?tab=mine&view={view.pk}"}


def test_a_second_click_saves_no_second_view(desk: Client, channel: ApiChannel) -> None:
    save(desk, "tab=mine", name="Мои")
    save(desk, "tab=mine", name="мои")
    refused = desk.post("/desk/views/add/", {"page": "chats", "query": "tab=waiting", "name": "Мои"})

    assert SavedView.objects.count() == 1
    assert "Another view has this name." in refused.content.decode()
    assert 'name="query" value="tab=waiting"' in refused.content.decode()
    save(desk, "status=live", name="Мои", page="requests")
    nameless = desk.post("/desk/views/add/", {"page": "chats", "query": "tab=waiting", "name": " "})
    assert "This field is required." in nameless.content.decode() and SavedView.objects.count() == 2


def test_the_number_of_own_views_is_limited(desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.desk.saved_views.MAX_OWN", 2)
    for name in ("1", "2"):
        save(desk, "tab=mine", name=name)

    refused = desk.post("/desk/views/add/", {"page": "chats", "query": "tab=mine", "name": "3"})

    assert "You have reached the limit of 2." in refused.content.decode() and SavedView.objects.count() == 2


def test_a_form_of_another_user_saves_nothing(desk: Client, channel: ApiChannel) -> None:
    answer = desk.post("/desk/views/add/", {"page": "chats", "query": "", "name": "X", "for_user": vera().pk})

    assert answer.status_code == 409 and not SavedView.objects.exists()


def test_views_move_in_their_list(desk: Client, channel: ApiChannel) -> None:
    views = {name: save(desk, f"q={name}", name=name) for name in "абв"}
    save(desk, "status=live", name="запросы", page="requests")

    for name, move in (("в", "up"), ("а", "down"), ("в", "up"), ("б", "down"), ("а", "sideways")):
        desk.post(f"/desk/views/{views[name].pk}/edit/", {"move": move})

    assert menu(page_html(desk, "/chats/")) == ["в", "а", "б"]
    assert menu(page_html(desk, "/requests/")) == ["запросы"]


# --- sharing -----------------------------------------------------------------------------------------------


def test_only_those_who_assign_to_others_share_views(desk: Client, channel: ApiChannel) -> None:
    team = Team.objects.create(name="Возвраты")
    team.chat_channels.add(channel.default_chat_channel)
    other = Team.objects.create(name="Чужая")
    admin = signed_in(Client(), supervisor(channel))
    own = save(desk, "tab=mine", name="Своё", audience="all")
    assert own.owner == boris() and 'name="audience"' not in page_html(desk, "/chats/?tab=mine")

    everyone = save(admin, "assignee=me", name="Всем", audience="all")
    of_team = save(admin, "tag=возврат", name="Команде", audience=f"team-{team.pk}")
    refused = admin.post(
        "/desk/views/add/", {"page": "chats", "query": "", "name": "Чужим", "audience": f"team-{other.pk}"}
    )

    assert "Возвраты" in page_html(admin, "/chats/?tab=mine") and "Select a valid choice" in refused.content.decode()
    assert menu(page_html(desk, "/chats/")) == ["Своё", "Всем"]
    assert desk.get(f"/desk/views/{of_team.pk}/").status_code == 404
    team.members.add(boris())
    assert menu(page_html(desk, "/chats/")) == ["Своё", "Всем", "Команде"]
    assert "Команде" in opened(desk, of_team)
    for view in (everyone, of_team):
        assert desk.post(f"/desk/views/{view.pk}/edit/", {"delete": "1"}).status_code == 404
        assert f"/desk/views/{view.pk}/edit/" not in page_html(desk, f"/chats/?tab=waiting&view={view.pk}")
    assert admin.get(f"/desk/views/{own.pk}/").status_code == 404
    # Only the colleague's own view ends with the colleague, and the team's with the team.
    admin.post(f"/desk/views/{everyone.pk}/edit/", {"name": "Всем нам", "audience": "all"})
    assert 'aria-label="Move “Всем нам” up"' in page_html(admin, "/desk/views/")
    boris().delete()
    team.delete()
    assert [view.name for view in SavedView.objects.all()] == ["Всем нам"]


def test_a_shared_view_shows_nobody_more_chats(channel: ApiChannel, desk: Client) -> None:
    mine, foreign = client_writes(channel, "Анна"), client_writes(ApiChannelFactory(), "Чужая")
    tickets.assign_chat(mine.pk, user_id=boris().pk)
    tickets.assign_chat(foreign.pk, user_id=vera().pk)
    admin = signed_in(Client(), vera())
    anyone = save(admin, "status=live", name="Все", audience="all")
    own = save(admin, "assignee=me", name="Мои", audience="all")
    of_channel = save(admin, f"tab=waiting&channel={foreign.chat_channel_id}", name="Канал", audience="all")

    assert sorted(names(opened(admin, anyone))) == ["Анна", "Чужая"]
    assert names(opened(desk, anyone)) == ["Анна"] == names(opened(desk, own))
    assert names(opened(admin, own)) == ["Чужая"] == names(opened(admin, of_channel))
    empty = opened(desk, of_channel)
    assert names(empty) == [] and "you do not have access to it" in empty and "No chats match the filter." in empty
    assert desk.get("/desk/views/counts/chats/").json()["counts"] == {
        **{str(anyone.pk): "1", str(own.pk): "1", str(of_channel.pk): "0"},
    }


def test_a_view_says_what_is_gone(desk: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна")
    team = Team.objects.create(name="Возвраты")
    team.chat_channels.add(channel.default_chat_channel)
    colleague = operator("igor", channel.default_chat_channel)
    tickets.assign_chat(chat.pk, user_id=colleague.pk, team_id=team.pk)
    Ticket.objects.update(tags=["vip"])
    views = {
        key: save(desk, f"{key}={value}", name=key)
        for key, value in {"team": team.pk, "assignee": colleague.pk, "tag": "vip"}.items()
    }
    for view in views.values():
        assert names(opened(desk, view)) == ["Анна"] and "filter-problem" not in opened(desk, view)

    Conversation.objects.update(assignee=None)
    Ticket.objects.update(assignee=None)
    colleague.delete()
    team.delete()
    Ticket.objects.update(tags=[])

    said = {
        "team": "The team of this filter was deleted",
        "assignee": "The assignee of this filter was deleted",
        "tag": "Nothing has the tag “vip” now.",
    }
    managed = page_html(desk, "/desk/views/")
    for key, view in views.items():
        assert names(opened(desk, view)) == [] and said[key] in opened(desk, view) and said[key] in managed
    assert "filter-problem" not in page_html(desk, f"/chats/?assignee={boris().pk}")


def test_views_are_in_the_palette(desk: Client, channel: ApiChannel) -> None:
    view = save(desk, "status=live", name="Живые", page="requests")

    found = desk.get("/chats/find/?recent=").json()

    assert found["views"] == [
        {"view": view.pk, "page": "requests", "title": "Живые", "url": f"/desk/views/{view.pk}/"},
    ]
    assert "views" not in desk.get("/chats/find/?q=живые").json()


def test_the_audit_names_who_shared_and_never_the_words(channel: ApiChannel) -> None:
    desk = signed_in(Client(), supervisor(channel))
    view = save(desk, "q=Сапожникова", name="Сапожникова", audience="all")
    desk.post(f"/desk/views/{view.pk}/edit/", {"delete": "1"})

    rows = list(AuditRecord.objects.filter(object_type="bridge.savedview"))

    assert [row.object_id for row in rows] == [str(view.pk)] * 2
    assert "Сапожникова" not in str([vars(row) for row in rows])


@pytest.mark.parametrize(
    ("name", "query", "is_erased"),
    [
        ("Анна Сапожникова", "tab=mine", True),
        ("Обувь", "q=сапожникова анна", True),
        ("Обувь", "q=8 921 555-01-77", True),
        ("Обувь", "tag=79215550177", True),
        ("Анна", "q=анна", False),
        ("Обувь", "q=сапожникова", False),
    ],
)
def test_an_erasure_deletes_views_that_name_the_person(
    desk: Client, channel: ApiChannel, name: str, query: str, is_erased: bool
) -> None:
    chat = client_writes(channel, "Анна Сапожникова", phone="79215550177")
    save(desk, query, name=name)

    erasure.erase_person(chat.contact_id, by=vera())

    assert SavedView.objects.exists() is not is_erased


# --- numbers -----------------------------------------------------------------------------------------------

CHAT_FILTERS = [
    *("", "tab=waiting", "tab=mine", "tab=unassigned", "tab=mentioned", "tab=snoozed", "status=live", "status=3"),
    *("window=closing", "window=open", "window=closed", "assignee=me", "assignee=none", "tag=vip", "tag=опт"),
    *("tag=nothing", "team=mine", "period=today", "period=week", "channel=0", "sort=newest&tag=vip&status=live"),
    "tab=waiting&window=open&assignee=none&period=month&since=2020-01-01&until=2100-01-01",
]
REQUEST_FILTERS = [
    *("", "status=live", "status=3", "assignee=me", "assignee=none", "tag=vip", "tag=опт", "tag=nothing"),
    *("team=mine", "period=today", "period=week", "since=2020-01-01", "until=2020-01-01", "channel=0"),
    *("sort=window", "sort=window&tag=vip", "status=live&tag=vip&assignee=none"),
]


def fill(channel: ApiChannel) -> None:
    team = Team.objects.create(name="Возвраты")
    team.members.add(boris())
    for number in range(12):
        chat = client_writes(channel, f"К{number}", ago=timedelta(hours=7 * number))
        opened_at = timezone.now() - timedelta(hours=7 * number)
        Ticket.objects.filter(conversation=chat).update(
            opened_at=opened_at, tags=["vip"] if number % 3 == 0 else [], team=team if number % 4 == 0 else None
        )
        Contact.objects.filter(pk=chat.contact_id).update(tags=["опт"] if number % 5 == 0 else [])
        Conversation.objects.filter(pk=chat.pk).update(team=team if number % 4 == 0 else None)
        if number % 2:
            tickets.assign_chat(chat.pk, user_id=boris().pk)
        if number % 6 == 1:
            tickets.set_ticket_status(Ticket.objects.get(conversation=chat).pk, status=Ticket.Status.CLOSED)
    client_writes(ApiChannelFactory(), "Чужой")


@pytest.mark.parametrize("is_frequent", [False, True])
def test_numbers_are_those_of_the_pages(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch, is_frequent: bool
) -> None:
    """``is_frequent``: every tag."""
    if is_frequent:
        monkeypatch.setattr(tags, "_find_tags", lambda _statement, wanted: set(wanted))
    fill(channel)
    pages = {"chats": (CHAT_FILTERS, names), "requests": (REQUEST_FILTERS, requests_of)}
    for page, (filters, found) in pages.items():
        views = {query: save(desk, query, name=f"№ {at}", page=page) for at, query in enumerate(filters)}
        counts = desk.get(f"/desk/views/counts/{page}/").json()["counts"]
        shown = {query: str(len(found(opened(desk, view)))) for query, view in views.items()}
        assert {query: counts[str(view.pk)] for query, view in views.items()} == shown
        assert len(set(shown.values())) > 5


def test_numbers_are_capped_and_searches_have_none(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_COUNTED", 2)
    for number in range(4):
        client_writes(channel, f"К{number}")
    everything, words = save(desk, "tab=waiting", name="Все"), save(desk, "q=К", name="Поиск")
    of_page = save(desk, "status=live", name="Живые", page="requests")

    assert desk.get("/desk/views/counts/chats/").json() == {"counts": {str(everything.pk): "2+"}}
    assert desk.get("/desk/views/counts/requests/").json() == {"counts": {str(of_page.pk): "2+"}}
    assert str(words.pk) not in desk.get("/desk/views/counts/chats/").json()["counts"]


def test_slow_numbers_are_left_out(desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_counts, "MAX_SECONDS", 0.001)
    monkeypatch.setattr(queries, "NEWEST_SQL", "SELECT 1 FROM pg_sleep(1)")
    save(desk, "window=", name="Все")

    assert desk.get("/desk/views/counts/chats/").json() == {"counts": {}}


def test_a_slow_look_for_tags_calls_no_view_broken(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(desk, "tag=vip")
    broken = "Nothing has the tag “vip” now."
    assert broken in page_html(desk, "/desk/views/")
    monkeypatch.setattr(view_counts, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(tags, "USED_SQL", "SELECT '' FROM pg_sleep(5)")

    page = page_html(desk, "/desk/views/")
    assert broken not in page and "Срочные" in page


def test_the_number_of_queries_does_not_grow_with_the_views(desk: Client, channel: ApiChannel) -> None:
    addresses = ("/chats/", "/requests/", "/desk/views/", "/desk/views/counts/chats/", "/desk/views/counts/requests/")
    fill(channel)

    def add(number: int) -> None:
        for page in ("chats", "requests"):
            save(desk, f"tag=vip&team=mine&period=week&status={number % 7 + 1}", name=f"{page} {number}", page=page)

    add(0)
    few = {address: len(list_queries(desk, address)) for address in addresses}
    for number in range(1, 9):
        add(number)

    assert {address: len(list_queries(desk, address)) for address in addresses} == few
    assert few["/desk/views/counts/chats/"] <= 14


# --- filters of both pages ---------------------------------------------------------------------------------


def test_requests_are_filtered_like_chats(desk: Client, channel: ApiChannel) -> None:
    for name, days in (("Сегодня", 0), ("Вчера", 1), ("Давно", 40)):
        chat = client_writes(channel, name, ago=timedelta(days=days))
        moment = timezone.now() - timedelta(days=days)
        Ticket.objects.filter(conversation=chat).update(opened_at=moment, tags=["vip"] if days == 1 else [])
    Contact.objects.filter(name="Давно").update(tags=["опт"])
    yesterday = timezone.localdate() - timedelta(days=1)
    for query, found in {
        "period=today": ["Сегодня"],
        "period=yesterday": ["Вчера"],
        "period=week": ["Сегодня", "Вчера"],
        "period=month&since=2020-01-01": ["Сегодня", "Вчера"],
        f"since={yesterday}&until={yesterday}": ["Вчера"],
        f"period=week&until={yesterday}": ["Вчера"],
        "until=2020-01-01": [],
        "tag=vip": ["Вчера"],
        "tag=опт": ["Давно"],
        "since=never&until=99999-01-01&period=x": ["Сегодня", "Вчера", "Давно"],
    }.items():
        assert sorted(names(page_html(desk, f"/chats/?{query}"))) == sorted(found), query
        assert requests_of(page_html(desk, f"/requests/?{query}")) == found, query


def test_tags_are_suggested_from_the_own_chats_only(desk: Client, channel: ApiChannel) -> None:
    for number, chat in enumerate([client_writes(channel, name) for name in ("А", "Б")]):
        Ticket.objects.filter(conversation=chat).update(tags=["vip", "опт"][: 2 - number])
        Contact.objects.filter(pk=chat.contact_id).update(tags=["vip", "город"][number:])
    foreign = client_writes(ApiChannelFactory(), "Чужой")
    Ticket.objects.filter(conversation=foreign).update(tags=["чужая"])
    Contact.objects.filter(pk=foreign.contact_id).update(tags=["чужая"])

    tags = desk.get("/desk/tags/").json()["tags"]

    assert tags[0] == "vip" and sorted(tags) == ["vip", "город", "опт"]
    assert requests_of(page_html(desk, "/requests/?tag=%23опт")) == ["А"]


def test_both_pages_have_the_same_chips(desk: Client, channel: ApiChannel) -> None:
    Ticket.objects.filter(conversation=client_writes(channel, "Анна")).update(tags=["vip"])
    query = "status=live&assignee=me&tag=vip&period=week&since=2026-01-31"

    chips = {}
    for path in ("/chats/", "/requests/"):
        page = page_html(desk, f"{path}?{query}")
        [part] = re.findall(r'<ul class="filter-chips".*?</ul>', page, re.DOTALL)
        chips[path] = set(re.findall(r'<span class="cut">(.*?)</span>', part))
        links = [html.unescape(link) for link in re.findall(r'href="([^"]*)"', part)]
        assert f"{path}?status=live&assignee=me&period=week&since=2026-01-31" in links

    assert chips["/chats/"] == chips["/requests/"] and len(chips["/chats/"]) == 5
    assert {"#vip", "Mine", "Not closed", "Last 7 days"} < chips["/chats/"]


def test_requests_page_and_its_bulk_bar_keep_all_filters(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.desk.views.requests.PAGE", 1)
    for name in ("Анна", "Игорь"):
        Ticket.objects.filter(conversation=client_writes(channel, name)).update(tags=["vip"])
    view = save(desk, "tag=vip&period=week", name="VIP", page="requests")

    page = html.unescape(opened(desk, view))

    kept = f"tag=vip&period=week&view={view.pk}"
    assert f'name="back" value="{kept}"' in page and f'href="?{kept}&after=' in page
    assert f'href="?{kept}&sort=window"' in page and f'name="view" value="{view.pk}"' in page


def test_a_frequent_tag_is_read_in_order(desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "_find_tags", lambda _statement, wanted: set(wanted))
    fill(channel)

    found = requests_of(page_html(desk, "/requests/?tag=vip"))

    assert found == ["К0", "К3", "К6", "К9"]
    assert request_table.FILTERS == ("status", "assignee", "team", "channel", "tag", "period", "since", "until")
