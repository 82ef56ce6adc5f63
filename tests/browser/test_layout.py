"""Every page and state: nothing leaves its parent, is clipped, covered or too narrow, and everybody can operate it.

Each place is loaded once per language and resized. The full product of languages, themes and sizes would take hours,
so sizes are chosen: Russian, whose words are longer, is walked at more widths, what opens within a page at fewer, and
each place has one theme in one language and the other theme in the other language. So every pair of a place and a
theme, of a language and a theme, and of a language and a kind of size occurs. The wide font (DejaVu) and a narrow one
are the extremes of what people have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory
from django.utils import translation
from django.views import defaults
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Route, expect
from playwright.sync_api import Error as PlaywrightError

from tests.browser.places import GROUPS, Place, World, build_world, open_profile
from tests.browser.test_axe import findings

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPTS = [(Path(__file__).parent / name).read_text() for name in ("layout.js", "operability.js")]
FONTS = {"wide": '"DejaVu Sans", sans-serif', "narrow": '"Roboto Condensed", "DejaVu Sans Condensed", sans-serif'}
USE_FONT = """(font) => document.documentElement.style.setProperty("--font", font)"""
CHECK = """async () => {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return findLayoutFaults();
}"""
BROWSER_FONT_SIZE = 16


@dataclass(frozen=True)
class Size:
    """A window. ``text``: the font size that a person has set in the browser."""

    width: int
    height: int = 900
    font: str = "wide"
    text: int = BROWSER_FONT_SIZE

    def __str__(self) -> str:
        words = [f"{self.width}" + (f"×{self.height}" if self.height != 900 else "")]
        words += [self.font] if self.font != "wide" else []
        words += [f"{self.text * 100 // BROWSER_FONT_SIZE} % text"] if self.text != BROWSER_FONT_SIZE else []
        return " ".join(words)


SIDEWAYS = Size(844, 390)  # a phone on its side
ZOOMED = Size(720, 450)  # 1440×900 at a zoom of 200 %
LARGE_TEXT = Size(1280, text=2 * BROWSER_FONT_SIZE)
LARGE_TEXT_ON_A_PHONE = Size(390, 844, text=20)
NARROW_FONT = (Size(1024, font="narrow"), Size(390, font="narrow"))
WIDTHS = {"ru": (1920, 1440, 1181, 1024, 900, 768, 761, 600, 390, 320), "en": (1440, 1190, 790, 480, 390, 320)}
WIDTHS_OF_A_STATE = {"ru": (1440, 768, 390, 320), "en": (1024, 390)}
SPECIAL = {
    "ru": (SIDEWAYS, ZOOMED, LARGE_TEXT, *NARROW_FONT),
    "en": (SIDEWAYS, LARGE_TEXT, LARGE_TEXT_ON_A_PHONE, NARROW_FONT[1]),
}


def choose_sizes(language: str, *, is_state: bool) -> list[Size]:
    """Return the sizes at which to look, ordered so that few steps change more than the width."""
    widths = (WIDTHS_OF_A_STATE if is_state else WIDTHS)[language]
    special = [size for size in SPECIAL[language] if not is_state or size != NARROW_FONT[0]]
    return [*map(Size, widths), *special]


class Window:
    """The browser's window, resized without waiting for it as ``set_viewport_size`` does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.session: CDPSession = page.context.new_cdp_session(page)
        self.font, self.text = "wide", BROWSER_FONT_SIZE
        page.evaluate(USE_FONT, FONTS["wide"])

    def resize(self, size: Size) -> None:
        self.session.send(
            "Emulation.setDeviceMetricsOverride",
            {"width": size.width, "height": size.height, "deviceScaleFactor": 1, "mobile": False},
        )
        if size.text != self.text:
            self.session.send("Page.setFontSizes", {"fontSizes": {"standard": size.text, "fixed": size.text}})
        if size.font != self.font:
            self.page.evaluate(USE_FONT, FONTS[size.font])
        self.font, self.text = size.font, size.text

    @contextmanager
    def use_touch(self) -> Iterator[None]:
        self.session.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 5})
        yield
        self.session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})

    def close(self) -> None:
        self.resize(Size(1280, 720))
        self.session.send("Emulation.clearDeviceMetricsOverride")
        self.session.detach()


Faults = dict[str, dict[str, list[str]]]  # fault, then place, then sizes


def walk(page: Page, place: Place, world: World, sizes: Sequence[Size], *, is_dark: bool, found: Faults) -> None:
    """Add the faults of a place: those of axe and of use once, those of the layout at the given sizes."""
    page.emulate_media(color_scheme="dark" if is_dark else "light", reduced_motion="reduce", forced_colors="none")
    answer = page.goto(place.address(world))
    assert answer and answer.status == place.status, answer and answer.status
    expect(page.locator(place.shown).first).to_be_attached()
    page.evaluate(USE_FONT, FONTS["wide"])
    if place.do:
        place.do(page)
    # The full set of rules in the light theme; the dark one differs in colors only.
    for fault in findings(page, only="color-contrast" if is_dark else ""):
        found.setdefault(f"axe, {fault}", {})[place.name] = []
    for script in SCRIPTS:
        page.evaluate(script)
    window = Window(page)

    def note(faults: Sequence[str], words: str) -> None:
        for fault in faults:
            same = re.sub(r"\d+ px", "… px", fault)
            found.setdefault(same, {}).setdefault(place.name, []).append(words)

    for size in sizes:
        window.resize(size)
        note(page.evaluate(CHECK), str(size))
    window.resize(Size(390, 844))
    if not place.address(world).startswith("/admin/"):  # made for a mouse
        with window.use_touch():
            note(page.evaluate("() => findTargetFaults()"), "finger")
    window.resize(Size(1280, 720) if is_dark else Size(390, 844))
    page.evaluate("() => rememberSigns()")
    page.emulate_media(forced_colors="active")
    note(page.evaluate("() => findForcedColorFaults()"), "forced colors")
    page.emulate_media(forced_colors="none")
    page.keyboard.press("Shift")  # from now on, the browser shows the focus as for the keyboard
    note(page.evaluate("() => findFocusFaults()"), "focus")
    window.close()


def show_errors(context: BrowserContext, language: str) -> None:
    """Serve the error pages, which a working portal cannot be made to show."""

    def fulfill(route: Route) -> None:
        request = RequestFactory().get("/")
        with translation.override(language):
            if "no-access" in route.request.url:
                answer = defaults.permission_denied(request, PermissionDenied())
            else:
                answer = defaults.server_error(request)
        route.fulfill(status=answer.status_code, content_type="text/html", body=answer.content)

    for address in ("**/no-access/", "**/server-error/"):
        context.route(address, fulfill)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("language", ["ru", "en"])
def test_pages_have_no_faults_of_layout_or_accessibility(
    browser: Browser, live_server: object, tmp_path: Path, settings: Any, group: str, language: str
) -> None:
    world = build_world(tmp_path, settings)
    places, get_user = GROUPS[group]
    found: Faults = {}
    with open_profile(browser, live_server, user=get_user(), language=language, dark=False) as context:
        show_errors(context, language)
        page = context.new_page()
        for number, place in enumerate(places):
            sizes = choose_sizes(language, is_state=bool(place.do))
            is_dark = (number % 2 == 1) == (language == "ru")
            try:
                walk(page, place, world, sizes, is_dark=is_dark, found=found)
            except (AssertionError, PlaywrightError) as error:  # the other places are walked, too
                found.setdefault(f"not reached: {str(error)[:200]}", {})[place.name] = []

    lines = [
        f"{fault}: " + "; ".join(f"{place} ({', '.join(sizes)})" for place, sizes in at.items())
        for fault, at in sorted(found.items())
    ]
    assert not lines, "\n".join(lines)
