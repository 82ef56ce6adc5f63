"""Fixtures of the browser tests: Chromium, driven by Playwright, against the live server of pytest-django."""

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from django.db import connection
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory

# The headless shell, which Playwright itself uses for headless runs, needs a third of the CPU time of a full Chromium.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "No Chromium here: `apt-get install chromium`, or let .ci/run do it; the browser tests need one."
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    # Only loopback can be reached, by name or by number. (A Playwright route would call Python for every request and
    # disable the cache.)
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

expect.set_options(timeout=30_000)  # milliseconds, like the actions: the machine may be busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    # Playwright's event loop runs in this thread, so Django would reject every query as unsafe in async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, live_server: object) -> Iterator[BrowserContext]:
    """Yield a fresh Russian profile whose relative URLs point to the live server."""
    context = browser.new_context(base_url=str(live_server), locale="ru-RU", timezone_id="Europe/Moscow")
    context.set_default_timeout(30_000)
    broken: list[str] = []
    context.on("console", lambda message: broken.append(message.text) if is_policy_complaint(message.text) else None)
    yield context
    context.close()
    wait_for_quiet()
    assert broken == [], "no page of any test may break its content security policy"


def is_policy_complaint(text: str) -> bool:
    """Return whether a console message reports a violated or invalid content security or permissions policy."""
    return any(words in text for words in ("Content Security Policy", "Content-Security-Policy", "Permissions-Policy"))


@pytest.fixture
def channel() -> ApiChannel:
    """Return a live channel with a name that tests can look for."""
    return ApiChannelFactory(name="Магазин")


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def wait_for_quiet() -> None:
    """Wait until the page's last poll has been answered, before the tables are truncated."""
    for _ in range(60):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND state <> 'idle'"
            )
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.05)
