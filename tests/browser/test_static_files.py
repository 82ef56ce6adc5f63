"""Desk and admin in Chromium with collected static files, served by the portal's web process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from playwright.sync_api import Browser, Page, Request

from config.devstack.processes import LISTEN_ON, kill_process_group, open_listening_sockets, spawn_process
from tests.factories import PASSWORD, vera
from tests.processes import free_port

pytestmark = pytest.mark.django_db(transaction=True)
TRANSFERRED = """() => performance.getEntriesByType("resource").filter(one => one.name.includes("/static/"))
    .reduce((bytes, one) => bytes + one.transferSize, 0)"""
HASHED = re.compile(r"/static/.+\.[0-9a-f]{12}\.\w+$")


@pytest.fixture
def portal(tmp_path: Path, db: None) -> Iterator[str]:
    """Yield the address of a web process whose static files were collected."""
    listener = open_listening_sockets(host="127.0.0.1", port=free_port(), count=1)[0]
    port = listener.getsockname()[1]
    database = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"
    environment = os.environ | {"DATABASE_URL": database, "STATIC_ROOT": str(tmp_path / "static"), "PORT": str(port)}
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(collect, cwd=settings.BASE_DIR, env=environment, check=True)
    server = spawn_process(
        [sys.executable, "-m", "config.serving.server", "--host", "127.0.0.1", "--port", str(port), "--processes", "1"],
        on_parent_death=signal.SIGKILL,
        cwd=settings.BASE_DIR,
        env=environment | {"DJANGO_SETTINGS_MODULE": "tests.settings", LISTEN_ON: str(listener.fileno())},
        pass_fds=[listener.fileno()],
    )
    yield f"http://127.0.0.1:{port}"
    kill_process_group(server)
    server.wait()
    listener.close()


def test_pages_work_with_collected_files_and_load_them_once(browser: Browser, portal: str) -> None:
    user = vera()
    context = browser.new_context(base_url=portal, locale="en-US")
    complaints: list[str] = []
    loaded: list[Request] = []
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("requestfinished", lambda request: loaded.append(request) if "/static/" in request.url else None)
    page = context.new_page()
    page.goto("/login/")
    page.fill("[name=username]", user.username)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(lambda address: "/login/" not in address)

    open_pages(page)

    assert len(loaded) > 20 and complaints == []
    assert [request.url for request in loaded if not HASHED.search(request.url)] == []
    for request in loaded:
        assert "immutable" in request.response().headers["cache-control"]  # type: ignore[union-attr]
        if request.url.endswith((".css", ".js")):
            assert request.response().headers["content-encoding"] == "gzip", request.url  # type: ignore[union-attr]
    page.goto("/chats/")
    assert page.evaluate(TRANSFERRED) == 0  # from the browser's cache
    context.close()


def open_pages(page: Page) -> None:
    for path, mark in (("/chats/", "htmx"), ("/admin/", "Alpine"), ("/api/docs/", "SwaggerUIBundle")):
        assert page.goto(path).status == 200  # type: ignore[union-attr]
        assert page.evaluate(f"typeof {mark}") != "undefined"  # the page's scripts have run when it is loaded
