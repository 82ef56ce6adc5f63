"""Work on a phone in Chromium: touch, the on-screen keyboard, the back gesture, rotation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from channels_setup.models import ApiChannel
from tests.browser.conftest import wait_for_quiet
from tests.browser.test_desk import SOON, sign_in, writes
from tests.factories import boris

pytestmark = pytest.mark.django_db(transaction=True)
WIDTH, HEIGHT = 390, 844
KEYBOARD = 336
FINGER = 44
# The keyboard of an iPhone makes the visual viewport shorter, and nothing else.
WITH_KEYBOARD = """() => {
    let covered = 0;
    const view = new EventTarget();
    Object.defineProperties(view, {
        height: { get: () => innerHeight - covered }, scale: { value: 1 }, offsetTop: { value: 0 } });
    Object.defineProperty(window, "visualViewport", { value: view });
    window.coverWithKeyboard = (height) => { covered = height; view.dispatchEvent(new Event("resize")); };
}"""


@pytest.fixture
def phone(browser: Browser, live_server: object, channel: ApiChannel) -> Iterator[Page]:
    """Yield a Russian phone, signed in as Boris, with forty chats."""
    chats = [writes(channel, f"Клиент {number}", "Где мой заказ? " * 8) for number in range(40)]
    context = browser.new_context(
        base_url=str(live_server),
        locale="ru-RU",
        timezone_id="Europe/Moscow",
        viewport={"width": WIDTH, "height": HEIGHT},
        has_touch=True,
        is_mobile=True,
    )
    context.set_default_timeout(30_000)
    context.add_init_script(f"({WITH_KEYBOARD})()")
    sign_in(context, boris(chats[0].chat_channel))
    context.clear_cookies(name="django_language")
    yield context.new_page()
    context.close()
    wait_for_quiet()


def box(of: Locator) -> dict[str, float]:
    found = of.bounding_box()
    assert found
    return {**found, "bottom": found["y"] + found["height"], "right": found["x"] + found["width"]}


def test_a_chat_is_answered_on_a_phone(phone: Page) -> None:
    phone.goto("/chats/?tab=snoozed")
    tabs = phone.locator("#tabs")
    assert box(tabs)["height"] <= FINGER + 4, "the tabs are one row"
    chosen = box(tabs.locator("[aria-current]"))
    assert chosen["x"] >= 0 and chosen["right"] <= WIDTH, "the chosen tab is in view"
    tabs.locator("#tab-all").tap()
    phone.evaluate("document.getElementById('rows').scrollTop = 700")
    row = phone.locator(".row", has_text="Клиент 25")
    row.scroll_into_view_if_needed()
    top = phone.evaluate("document.getElementById('rows').scrollTop")
    row.tap()
    expect(phone.locator("#chat h2").first).to_have_text("Клиент 25")
    expect(phone.locator("#list")).to_be_hidden()

    # The header: two rows, each control large enough and on one line.
    head = box(phone.locator("#chat_header"))
    assert head["height"] <= 2 * FINGER + 40, head
    close = phone.get_by_role("button", name="Закрыть запрос")
    assert FINGER <= box(close)["height"] < FINGER + 8
    expect(close.locator(".short-words")).to_be_visible()

    # The keyboard: the composer is above it, the header and the latest message are in view.
    phone.locator("#text").tap()
    phone.evaluate(f"coverWithKeyboard({KEYBOARD})")
    expect(phone.locator("#app")).to_have_css("height", f"{HEIGHT - KEYBOARD}px")
    send = phone.locator("#composer .button.main")
    assert box(send)["bottom"] <= HEIGHT - KEYBOARD and box(phone.locator("#chat_header"))["y"] >= 0
    latest = phone.locator("#messages .bubble").last
    expect(latest).to_be_in_viewport()
    phone.locator("#text").fill("Едет")
    send.tap()
    expect(phone.locator("#messages .out .bubble", has_text="Едет")).to_be_visible(timeout=SOON)
    phone.evaluate("coverWithKeyboard(0)")
    expect(phone.locator("#app")).to_have_css("height", f"{HEIGHT}px")

    # On its side, the thread keeps some height and the button to send is whole.
    phone.set_viewport_size({"width": HEIGHT, "height": WIDTH})
    expect(send).to_be_in_viewport(ratio=1)
    assert box(phone.locator("#scroll"))["height"] >= 110
    phone.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    # With text of twice the size, all buttons are whole, and the day hides no message for long.
    device = phone.context.new_cdp_session(phone)
    phone.locator("#text").blur()  # while one writes, the buttons of the header make room
    device.send("Page.setFontSizes", {"fontSizes": {"standard": 32}})
    for button in (send, close, phone.locator("#who-answers")):
        expect(button).to_be_in_viewport(ratio=1)
        assert box(button)["width"] >= FINGER
    phone.locator("#scroll").evaluate("(scroll) => { scroll.scrollTop -= 60; }")
    expect(phone.locator("#day-label")).to_have_class("day-label idle")
    expect(phone.locator("#day-button")).to_be_hidden()
    device.send("Page.setFontSizes", {"fontSizes": {"standard": 16}})

    # The client's card leaves no step in the history: the back gesture closes it, or returns to the list where it was.
    for _ in range(2):
        phone.locator(".to-client").tap()
        expect(phone.locator("#client")).to_be_visible()
        phone.locator(".close-client").tap()
        expect(phone.locator("#client")).to_be_hidden()
    phone.locator("#chat h2 a").tap()
    expect(phone.locator("#client")).to_be_visible()
    phone.go_back()
    expect(phone.locator("#client")).to_be_hidden()
    expect(phone.locator("#chat_header")).to_be_visible()
    phone.go_back()
    expect(phone.locator("#chat")).to_be_hidden()
    assert abs(phone.evaluate("document.getElementById('rows').scrollTop") - top) < 120
