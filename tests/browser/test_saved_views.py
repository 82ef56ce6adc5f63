"""Saved views and the shared filters in Chromium: by keyboard, with an open chat, and without scripts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bridge.conversations import tickets, unread_marks
from bridge.models import Conversation, SavedView, Ticket
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from tests.browser.test_desk import open_chat, sign_in, writes
from tests.factories import boris, operator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    found = [writes(channel, name, f"Это {name}") for name in ("Анна", "Борис", "Вера")]
    for chat in found[:2]:
        Ticket.objects.filter(conversation=chat).update(tags=["vip"])
    return found


@pytest.fixture
def desk(context: BrowserContext, page: Page, chats: list[Conversation]) -> Page:
    sign_in(context, boris(chats[0].chat_channel))
    return page


def test_views_are_saved_opened_and_changed_by_keyboard(desk: Page, chats: list[Conversation]) -> None:
    rows, chips = desk.locator("#rows .row"), desk.locator(".filter-chips")
    open_chat(desk, chats[2])
    desk.keyboard.press("Escape")
    desk.keyboard.press("v")
    expect(desk.locator("#views-menu")).to_contain_text("No views yet.")
    expect(desk.locator("#views-button")).to_be_focused()
    desk.keyboard.press("Escape")
    desk.keyboard.press("f")
    desk.locator("#list-filters [name=tag]").fill("vip")
    desk.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[2].pk))

    # Save: the chat stays open and unread, and the view is marked.
    desk.evaluate("document.getElementById('chat').dataset.kept = '1'")
    unread_marks.mark_unread({chats[2].pk: 1})
    desk.locator("#views-button").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#views-menu")).to_contain_text("No views yet.")
    desk.locator("#views-menu [name=name]").fill("Важные")
    desk.keyboard.press("Enter")
    expect(chips.locator(".chip.ok")).to_contain_text("Важные")
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[2].pk))
    expect(rows).to_have_count(2)
    expect(desk.locator("#chat[data-kept]")).to_have_count(1)
    chats[2].refresh_from_db()
    assert chats[2].unread == 1
    view = SavedView.objects.get()

    # Leave the view, come back by the menu, which counts, and by the palette.
    chips.locator(".chip.ok").click()
    expect(rows).to_have_count(3)
    desk.locator("#scroll").focus()
    desk.keyboard.press("v")
    link = desk.locator("#views-menu a", has_text="Важные")
    expect(link).to_be_focused()
    expect(link.locator("[data-count]")).to_have_text("2")
    desk.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    expect(desk.locator("#views-menu [aria-current]")).to_have_text(re.compile("Важные"))
    chips.locator(".chip.ok").click()
    expect(rows).to_have_count(3)
    desk.keyboard.press("Control+k")
    desk.keyboard.type("Важн")
    expect(desk.locator("#palette [aria-selected=true]")).to_contain_text("Saved views")
    desk.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[2].pk))

    # Change the filters: the view says so, and takes them over.
    desk.locator("#filters-button").click()
    desk.locator("#list-filters [name=assignee]").select_option("me")
    expect(rows).to_have_count(0)
    expect(chips).to_contain_text("changed")
    desk.locator("#views-button").click()
    desk.get_by_role("button", name="Save changes to “Важные”").click()
    expect(chips.locator(".chip.ok")).not_to_contain_text("changed")
    view.refresh_from_db()
    assert view.filters == {"tag": "vip", "assignee": "me"}

    # A deleted view: its link has gone, and an open page says so.
    desk.goto("/desk/views/")
    desk.get_by_role("link", name="Edit “Важные”").click()
    desk.get_by_role("button", name="Delete").click()
    expect(desk.locator("main [role=status]")).to_have_text("The view was deleted.")
    desk.goto(f"/chats/?tag=vip&view={view.pk}")
    expect(desk.locator(".filter-problem")).to_contain_text("This view was deleted")


def test_requests_are_filtered_saved_and_shared(desk: Page, chats: list[Conversation]) -> None:
    assign_role(boris(), role=Role.SUPERVISOR)
    desk.goto("/requests/")
    desk.get_by_text("Tag and dates").click()
    desk.locator("#more-filters [name=tag]").fill("vip")
    desk.keyboard.press("Enter")
    expect(desk.locator("table.requests tbody tr")).to_have_count(2)
    desk.get_by_label("Assignee").first.select_option("none")
    expect(desk.locator(".filter-chips li")).to_have_count(2)
    expect(desk.locator("table.requests th", has_text="Window")).to_be_visible()

    desk.locator("#views-button").click()
    desk.locator("#views-menu [name=name]").fill("Ничьи VIP")
    desk.locator("#views-menu [name=audience]").select_option("all")
    desk.get_by_role("button", name="Save as a view").click()
    expect(desk.locator(".filter-chips .chip.ok")).to_contain_text("Ничьи VIP")
    view = SavedView.objects.get()
    assert (view.owner, view.filters) == (None, {"assignee": "none", "tag": "vip"})
    desk.locator("#pick-all").check()
    desk.get_by_role("button", name="Mark as solved").click()
    expect(desk.locator(".done")).to_contain_text("2 requests changed.")
    expect(desk.locator(".filter-chips .chip.ok")).to_contain_text("Ничьи VIP")


def test_views_work_without_scripts(browser: Browser, live_server: object, chats: list[Conversation]) -> None:
    context = browser.new_context(base_url=str(live_server), locale="en-US", java_script_enabled=False)
    sign_in(context, boris(chats[0].chat_channel))
    page = context.new_page()
    page.goto("/chats/?tag=vip")
    page.locator("#views-button").click()
    page.locator("#views-menu [name=name]").fill("Важные")
    page.get_by_role("button", name="Save as a view").click()
    expect(page.locator(".filter-chips .chip.ok")).to_contain_text("Важные")
    page.goto("/chats/")
    page.locator("#views-button").click()
    page.locator("#views-menu a", has_text="Важные").click()
    expect(page.locator("#rows .row")).to_have_count(2)
    page.goto("/requests/")
    page.get_by_text("Tag and dates").click()
    page.locator("#more-filters [name=tag]").fill("vip")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("table.requests tbody tr")).to_have_count(2)
    context.close()


def test_the_key_n_says_that_it_skipped_a_colleague(desk: Page, chats: list[Conversation]) -> None:
    colleague = operator("igor", chats[0].chat_channel)
    tickets.assign_chat(chats[0].pk, user_id=colleague.pk)
    desk.goto("/chats/")

    desk.keyboard.press("n")

    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[1].pk))
    expect(desk.locator("#toasts")).to_contain_text("Skipped 1 chat that a colleague has.")
