"""Collected static files: hashed names, compressed, and what happens without them."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.templatetags.static import static
from django.test import Client, override_settings

from config.web import static_files

OURS_ONLY = ["django.contrib.staticfiles.finders.FileSystemFinder"]
STORAGE = {"BACKEND": "config.web.static_files.HashedStaticFilesStorage"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collect the portal's own static files."""
    folder = tmp_path_factory.mktemp("static")
    with use_folder(folder):
        call_command("collectstatic", interactive=False, verbosity=0)
    return folder


def use_folder(folder: Path) -> Any:
    default = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    return override_settings(
        STATIC_ROOT=str(folder),
        STATICFILES_FINDERS=OURS_ONLY,
        STORAGES={"default": default, "staticfiles": STORAGE},
        SECURE_SSL_REDIRECT=False,
    )


@pytest.fixture
def collected(root: Path) -> Iterator[Path]:
    with use_folder(root):
        yield root


def test_collected_files_are_hashed_compressed_and_kept_for_years(collected: Path) -> None:
    address = static("okno.css")
    response = Client().get(address, headers={"Accept-Encoding": "gzip"})

    assert re.fullmatch(r"/static/okno\.[0-9a-f]{12}\.css", address)
    assert response["Content-Encoding"] == "gzip" and response["Vary"] == "Accept-Encoding"
    assert response["Cache-Control"] == "max-age=315360000, public, immutable"


def test_a_page_of_another_release_gets_the_file_of_this_one(collected: Path) -> None:
    current = b"".join(Client().get("/static/okno.css"))  # type: ignore[call-overload]
    response = Client().get("/static/okno.0123456789ab.css")

    assert b"".join(response) == current  # type: ignore[call-overload]
    assert response["Cache-Control"] == "max-age=60, public"  # not the years of a name that fits the content
    assert Client().get("/static/nothing.0123456789ab.css").status_code == 404


def test_files_of_another_release_are_not_used(
    collected: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(static_files, "compute_sources_checksum", lambda: "changed")
    with use_folder(collected), caplog.at_level(logging.WARNING):
        response = Client().get("/static/okno.css")

        assert static("okno.css") == "/static/okno.css" and response.status_code == 200
    assert "manage.py collectstatic --noinput" in caplog.text


def test_an_empty_folder_serves_the_source_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with use_folder(tmp_path), caplog.at_level(logging.WARNING):
        assert Client().get(static("theme.js")).status_code == 200
        assert staticfiles_storage.stored_name("theme.js") == "theme.js"  # type: ignore[attr-defined]
    assert "STATIC_ROOT has no static files of this release" in caplog.text


def test_without_the_setting_files_keep_their_names(client: Client) -> None:
    assert static("okno.css") == "/static/okno.css"
    assert client.get("/static/okno.css").status_code == 200
