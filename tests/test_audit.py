"""The audit tool: what it finds, what it accepts, and what it prints where it could not look."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.audit import __main__ as audit
from tests.audit import licenses, packages, secret_scan
from tests.audit.exceptions import Exceptions, Finding

RANDOM = "q7Zx2Lm9Vt4Rb8Yn3Kd6Wp1"


@pytest.mark.parametrize(
    ("line", "is_secret"),
    [
        ("-----BEGIN " + "RSA PRIVATE KEY-----", True),
        ("key: AKIA" + "IOSFODNN7EXAMPLE", True),
        ("ghp_" + "a1B2c3D4e5" * 3 + "a1B2c3", True),
        ("EAA" + "Gm0PX4ZCps" * 7, True),
        (f'API_KEY = "{RANDOM}"', True),
        (f"{{'app_secret': '{RANDOM}'}}", True),
        (f"password={RANDOM}", True),
        (f"name = '{RANDOM}'", False),  # nothing marks this as a secret
        ('token = "the-token-of-a-channel-in-words"', False),
        ("secret = settings.SECRET_KEY_OF_THE_PORTAL_2", False),
        ("token = make_token(length=40, alphabet=LETTERS)", False),
    ],
)
def test_secrets_are_distinguished_from_names(line: str, is_secret: bool) -> None:
    assert bool(list(secret_scan.secrets_in(line))) == is_secret


def test_a_secret_that_was_committed_and_removed_is_found(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "settings.py").write_text(f'API_KEY = "{RANDOM}"\n')
    git("add", ".")
    git("commit", "-qm", "Add")
    (tmp_path / "settings.py").write_text("API_KEY = environ['API_KEY']\n")
    git("commit", "-qam", "Remove")

    assert secret_scan.findings_in(secret_scan.tree(tmp_path)) == []
    [found] = secret_scan.findings_in(secret_scan.history(tmp_path))
    assert found.about == secret_scan.digest(RANDOM)
    assert RANDOM not in str(found)


@pytest.mark.parametrize(
    ("declared", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND PSF-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("", False),
    ],
)
def test_licenses_are_judged_by_their_declared_metadata(declared: str, allowed: bool) -> None:
    assert licenses.is_allowed(declared) is allowed


def test_every_pinned_package_has_an_allowed_or_explained_license() -> None:
    found = licenses.findings(licenses.pinned(*audit.ALL_REQUIREMENTS))

    assert Exceptions.read().not_accepted(found) == []


@pytest.mark.parametrize("entry", ['why = "It is harmless here, really."', 'since = 2026-11-29\nwhy = "Fine."'])
def test_an_exception_without_a_date_or_a_reason_is_refused(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(f'[[exception]]\ncheck = "code"\nabout = "S101"\n{entry}\n')

    with pytest.raises(ValueError, match="needs `since`"):
        Exceptions.read(path)


def test_accepted_findings_do_not_count_and_unused_exceptions_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = audit.Report(Exceptions({("code", "S1 a.py"): {}, ("code", "S2 a.py"): {}, ("other", "x"): {}}))
    report.check("code", "Rules", lambda: [Finding(check="code", about="S1 a.py", where="a.py:1", message="S1")])

    assert report.finish() == 1
    assert "Rules: clean, 1 accepted" in (output := capsys.readouterr().out)
    assert "S2 a.py" in output and "other" not in output


def test_unreachable_advisories_are_not_reported_as_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The index answers, but reports no vulnerability even where there are many."""
    monkeypatch.setattr(packages, "_vulnerable", lambda *_arguments: [])
    report = audit.Report(Exceptions({}))
    report.check(packages.CHECK, "Known vulnerabilities", lambda: packages.advisories(tmp_path, tmp_path, []))

    assert report.finish() == 0
    output = capsys.readouterr().out
    assert "COULD NOT BE REACHED" in output and "NOT CHECKED: Known vulnerabilities" in output
    assert "clean" not in output


def test_exceptions_name_existing_files() -> None:
    paths = [about.partition(" ")[2] for check, about in Exceptions.read().accepted if check == "code"]

    assert [path for path in paths if path and not Path(path).exists()] == []
