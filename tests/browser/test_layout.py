"""Every page and state: nothing leaves its parent, is clipped, covered or too narrow, and axe finds nothing serious.

Each place is loaded once per language and resized. The wide font (DejaVu) and a narrow one are the extremes of what
people have. Themes share one layout, so each language is walked in one of them. English, whose words are shorter, and
what opens within a page are walked at fewer widths.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect
from playwright.sync_api import Error as PlaywrightError

from tests.browser.places import GROUPS, Place, World, build_world, open_profile
from tests.browser.test_axe import findings

pytestmark = pytest.mark.django_db(transaction=True)

LAYOUT = (Path(__file__).parent / "layout.js").read_text()
WIDTHS = {
    "ru": (1920, 1440, 1190, 1181, 1024, 900, 790, 768, 761, 600, 480, 390, 320),
    "en": (1440, 1024, 768, 390, 320),
}
WIDTHS_OF_A_STATE = (1440, 1024, 768, 390, 320)
HEIGHT = 900
FONTS = {"wide": '"DejaVu Sans", sans-serif', "narrow": '"Roboto Condensed", "DejaVu Sans Condensed", sans-serif'}
NARROW_FONT_WIDTHS = (1024, 390)
USE_FONT = """(font) => document.documentElement.style.setProperty("--font", font)"""
CHECK = """async () => {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return findLayoutFaults();
}"""


def resize(session: CDPSession, width: int, height: int = HEIGHT) -> None:
    """Resize the page without waiting for it as ``set_viewport_size`` does."""
    session.send(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


Faults = dict[str, dict[str, list[str]]]  # fault, then place, then widths


def walk(page: Page, place: Place, world: World, widths: Sequence[int], *, is_dark: bool, found: Faults) -> None:
    """Add the faults of a place: those of axe once, those of the layout at the given widths."""
    answer = page.goto(place.address(world))
    assert answer and answer.status == place.status, answer and answer.status
    expect(page.locator(place.shown).first).to_be_attached()
    page.evaluate(USE_FONT, FONTS["wide"])
    if place.do:
        place.do(page)
    # The full set of rules in the light theme; the dark one differs in colors only.
    for fault in findings(page, only="color-contrast" if is_dark else ""):
        found.setdefault(f"axe, {fault}", {})[place.name] = []
    page.evaluate(LAYOUT)
    session = page.context.new_cdp_session(page)

    def look(words: str) -> None:
        for fault in page.evaluate(CHECK):
            same = re.sub(r"\d+ px", "… px", fault)
            found.setdefault(same, {}).setdefault(place.name, []).append(words)

    for width in WIDTHS_OF_A_STATE if place.do else widths:
        resize(session, width)
        look(str(width))
    resize(session, 844, 390)
    look("844×390")
    page.evaluate(USE_FONT, FONTS["narrow"])
    for width in NARROW_FONT_WIDTHS:
        resize(session, width)
        look(f"{width} narrow")
    session.send("Emulation.clearDeviceMetricsOverride")
    session.detach()


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(("language", "dark"), [("ru", False), ("en", True)])
def test_pages_have_no_faults_of_layout_or_accessibility(
    browser: Browser, live_server: object, tmp_path: Path, settings: Any, group: str, language: str, dark: bool
) -> None:
    world = build_world(tmp_path, settings)
    places, get_user = GROUPS[group]
    found: Faults = {}
    with open_profile(browser, live_server, user=get_user(), language=language, dark=dark) as context:
        page = context.new_page()
        for place in places:
            try:
                walk(page, place, world, WIDTHS[language], is_dark=dark, found=found)
            except (AssertionError, PlaywrightError) as error:  # the other places are walked, too
                found.setdefault(f"not reached: {str(error)[:200]}", {})[place.name] = []

    lines = [
        f"{fault}: " + "; ".join(f"{place} ({', '.join(widths)})" for place, widths in at.items())
        for fault, at in sorted(found.items())
    ]
    assert not lines, "\n".join(lines)
