"""Work at the desk by keyboard alone in Chromium: keys do what the list of keys says, and the focus is never lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from bridge.models import CannedResponse, Conversation, Ticket
from channels_setup.models import ApiChannel
from tests.browser.holding import Held
from tests.browser.test_desk import open_chat, sign_in, writes
from tests.factories import boris

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ["Анна Соколова", "Борис Ким", "Вера Лис"]
FOCUSED = "() => document.activeElement !== document.body"


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [writes(channel, name, f"Это {name}") for name in NAMES]


@pytest.fixture
def desk(context: BrowserContext, page: Page, chats: list[Conversation]) -> Page:
    sign_in(context, boris(chats[0].chat_channel))
    open_chat(page, chats[0])
    return page


def press_russian(page: Page, letter: str, code: str) -> None:
    """Press a key as a Russian layout reports it."""
    page.evaluate(
        """([key, code]) => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true }))""",
        [letter, code],
    )


def test_keys_of_the_open_chat_work_and_keep_the_focus(desk: Page, chats: list[Conversation]) -> None:
    CannedResponse.objects.create(name="Спасибо", text="Спасибо за ожидание")
    text, scroll = desk.locator("#text"), desk.locator("#scroll")
    expect(text).to_be_focused()

    # Letters belong to the text until Escape leaves it.
    desk.keyboard.type("even")
    expect(text).to_have_value("even")
    desk.keyboard.press("Escape")
    expect(scroll).to_be_focused()
    expect(text).to_have_value("even")
    assert Ticket.objects.filter(status=Ticket.Status.CLOSED).count() == 0

    # Quick reply, also from the note, in a Russian layout.
    press_russian(desk, "й", "KeyQ")
    expect(desk.locator("#template_panel [data-find]")).to_be_focused()
    desk.keyboard.press("Escape")
    expect(text).to_be_focused()

    # A command of the palette decides where the focus goes.
    desk.keyboard.press("Escape")
    desk.keyboard.press("Control+k")
    desk.keyboard.type("write a reply")
    desk.keyboard.press("Enter")
    expect(desk.locator("#palette")).to_be_hidden()
    expect(text).to_be_focused()

    # The list of keys names Escape.
    desk.keyboard.press("Escape")
    desk.keyboard.press("?")
    expect(desk.locator("#keys-help")).to_contain_text("Esc")
    desk.keyboard.press("Escape")
    expect(scroll).to_be_focused()

    # Arrows move in the menus of the header; Escape returns to the button.
    for key, button in (("a", "#who-answers"), ("z", "#snooze-menu")):
        desk.keyboard.press(key)
        items = desk.locator(f"details:has(> {button}) .menu-panel button:visible")
        expect(items.first).to_be_focused()
        desk.keyboard.press("ArrowDown")
        expect(items.nth(1)).to_be_focused()
        desk.keyboard.press("Home")
        expect(items.first).to_be_focused()
        desk.keyboard.press("Escape")
        expect(desk.locator(button)).to_be_focused()

    # The arrow leads from the search to the chats.
    desk.keyboard.press("/")
    desk.keyboard.press("ArrowDown")
    expect(desk.locator("#rows a.row").first).to_be_focused()

    # Through all that wait, then close and go on.
    for chat in [chats[1], chats[2], chats[0]]:
        desk.keyboard.press("n")
        expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chat.pk))
        expect(text).to_be_focused()
        desk.keyboard.press("Escape")
        expect(scroll).to_be_focused()
    desk.keyboard.press("Shift+E")
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[1].pk))
    expect(text).to_be_focused()
    assert Ticket.objects.get(conversation=chats[0]).status == Ticket.Status.CLOSED

    # After the last one, a sentence says that none waits.
    desk.keyboard.press("Escape")
    desk.keyboard.press("Shift+E")
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[2].pk))
    expect(text).to_be_focused()
    desk.keyboard.press("Escape")
    desk.keyboard.press("Shift+E")
    expect(desk.locator("#toasts")).to_contain_text("No chats need a reply.")


def test_the_list_keeps_the_focus_when_it_is_redrawn(
    desk: Page, channel: ApiChannel, chats: list[Conversation]
) -> None:
    # A tab keeps the focus when it is chosen and when the list is redrawn.
    desk.locator("#tab-waiting").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#tab-waiting")).to_have_attribute("aria-current", "true")
    expect(desk.locator("#tab-waiting")).to_be_focused()
    new = writes(channel, "Глеб", "Новый")
    expect(desk.locator(f'#rows .row[data-chat="{new.pk}"]')).to_be_visible()
    expect(desk.locator("#tab-waiting")).to_contain_text("4")
    expect(desk.locator("#tab-waiting")).to_be_focused()

    # A row that leaves the list gives the focus to the next one.
    row = desk.locator(f'#rows .row[data-chat="{chats[0].pk}"]')
    row.focus()
    desk.keyboard.press("e")
    expect(row).to_have_count(0)
    expect(desk.locator(f'#rows .row[data-chat="{chats[1].pk}"]')).to_be_focused()

    # Keys pressed while a chat opens are meant for its composer.
    held = Held(desk, f"**/chats/{chats[2].pk}/*tab=waiting*")
    desk.evaluate("""() => { okno.chatCache.takeFetched = async () => null; okno.chatCache.take = () => null; }""")
    desk.keyboard.press("j")
    desk.keyboard.press("Enter")
    held.wait()
    desk.keyboard.press("f")
    expect(desk.locator("#list-filters")).not_to_have_attribute("open", "")
    held.end()
    expect(desk.locator("#text")).to_be_focused()
    expect(desk.locator("#chat")).to_have_attribute("data-chat", str(chats[2].pk))

    # Escape in the empty search returns to the list.
    desk.keyboard.press("Escape")
    press_russian(desk, ".", "Slash")
    expect(desk.locator("#search-chats")).to_be_focused()
    desk.keyboard.press("Escape")
    expect(desk.locator(f'#rows .row[data-chat="{chats[2].pk}"]')).to_be_focused()
    assert desk.evaluate(FOCUSED)
