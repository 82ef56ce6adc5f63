"""What a person opens on a page before it is looked at: menus, dialogs, a template, a note, a file."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

LONG_NAME = "Александра Константинопольская-Преображенская Всеволодовна"
LONG_FILE = "договор_поставки_обуви_и_аксессуаров_редакция_от_28_ноября_2026_года_с_подписями_сторон_итог.pdf"


def open_everything(page: Page) -> None:
    page.locator("[data-fold]").click()
    page.locator(".out [data-trail]").first.click()
    expect(page.locator(".trail .path").first).to_be_visible()
    for summary in page.locator(".client details.adds > summary").all():
        if summary.is_visible():
            summary.click()


def open_answers(page: Page) -> None:
    page.locator("[data-canned-responses]").click()
    expect(page.locator(".tp-pick").first).to_be_visible()


def open_picker(page: Page) -> None:
    page.locator("[data-pick]:not([data-canned-responses]):visible").first.click()
    expect(page.locator(".tp-pick").first).to_be_visible()


def open_template(page: Page) -> None:
    open_picker(page)
    page.locator(".tp-pick", has_text="delivery_address").first.click()
    expect(page.locator(".tp textarea").first).to_be_visible()


def type_near_miss(page: Page) -> None:
    page.fill("#text", "По заказу 4417 нам не хватает адреса. Напишите нам, пожалуйста, улицу.")
    expect(page.locator(".tp").first).to_be_visible()


def type_too_much(page: Page) -> None:
    page.fill("#text", "Слово " * 900)


def show_quote(page: Page) -> None:
    page.evaluate(
        """(words) => { const place = document.getElementById("replying");
            place.hidden = false; place.querySelector("b").textContent = words;
            place.querySelector(".quoted span").textContent = words; }""",
        LONG_NAME * 3,
    )


def attach_file(page: Page) -> None:
    page.set_input_files(
        ".attach input", files=[{"name": LONG_FILE, "mimeType": "application/pdf", "buffer": b"%PDF-1"}]
    )
    expect(page.locator("#uploads .upload").first).to_be_visible()


def show_toasts(page: Page) -> None:
    page.evaluate(
        """() => { for (let i = 0; i < 5; i++) {
            const toast = document.getElementById("toast").content.cloneNode(true);
            toast.querySelector("b").textContent = "Окно закроется через 18 минут: Константинопольская";
            toast.querySelector("a span").textContent = "Где мой заказ?";
            document.getElementById("toasts").append(toast); } }"""
    )


def show_offline(page: Page) -> None:
    page.evaluate("() => { document.getElementById('offline').hidden = false; }")


def open_client(page: Page) -> None:
    if page.locator(".to-client").is_visible():
        page.locator(".to-client").click()


def open_menu(selector: str) -> Callable[[Page], None]:
    """Return the action that opens the menu with this summary."""

    def click(page: Page) -> None:
        summary = page.locator(selector).first
        summary.click()
        expect(page.locator("details[open] .menu-panel").first).to_be_visible()

    return click


def write_note(page: Page) -> None:
    page.locator("[data-compose=note]").click()
    page.fill("#note-text", "Клиентка заберёт сама после шести. " * 12)
    expect(page.locator("#note-form")).to_be_visible()


def select_chats(page: Page) -> None:
    for row in page.locator("#rows a.row").all()[:2]:
        page.evaluate("(chat) => okno.chatSelection.toggle(chat)", row.get_attribute("data-chat"))
    expect(page.locator("#chat-bulk")).to_be_visible()


def select_requests(page: Page) -> None:
    for box in page.locator(".table tbody .pick input").all()[:2]:
        box.check()
    expect(page.locator("#bulk-bar")).to_be_visible()


def open_row_menu(page: Page) -> None:
    page.locator("#rows a.row").first.press("ContextMenu")
    expect(page.locator("#row-menu")).to_be_visible()


def open_palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    expect(page.locator("#palette [role=option]").first).to_be_visible()


def open_keys(page: Page) -> None:
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_be_visible()


def open_lightbox(page: Page) -> None:
    page.locator("a.picture:visible").first.click()
    expect(page.locator("#lightbox")).to_be_visible()


def choose_first_message(page: Page) -> None:
    """Fill in the start of a chat, and go on to its message."""
    page.locator("[name=channel]").first.check()
    page.locator("#new-phone").fill("8 921 555-01-04")
    page.locator("[name=template]").select_option(index=1)
    page.locator("[name=consent]").first.check()
    page.locator("[name=fill]").click()
    expect(page.locator("[data-go]")).to_be_visible()


def check_import(page: Page) -> None:
    """Upload a table with good and bad rows, and wait for what it would change."""
    rows = "".join(f"+7921{number:07d};{LONG_NAME};постоянный\n" for number in range(6))
    table = f"Телефон;Имя;Метка\n{rows}12;Борис;\n".encode()
    page.locator("[name=file]").set_input_files({"name": LONG_FILE + ".csv", "mimeType": "text/csv", "buffer": table})
    page.locator(".contact-form .main").click()
    expect(page.locator(".import-counts")).to_be_visible()
