"""Checks of `manage.py doctor`: what is wrong with the portal, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from django.utils import translation

from channels_setup.codecs.error_descriptions import describe_error

from . import data_checks, network_checks, server_checks, settings_checks
from .findings import CheckFunction, Finding, Severity, error

__all__ = ["Finding", "Severity", "examine"]

CHECKS: tuple[CheckFunction, ...] = (
    settings_checks.check_names,
    settings_checks.check_mode,
    settings_checks.check_public_url,
    settings_checks.check_email,
    settings_checks.check_django,
    settings_checks.check_data_folder,
    settings_checks.check_disk,
    settings_checks.check_backup,
    server_checks.check_redis,
)
DATABASE_CHECKS: tuple[CheckFunction, ...] = (
    server_checks.check_database_server,
    server_checks.check_connections,
    server_checks.check_clock,
    server_checks.check_migrations,
)
# Only if the tables are those of this release.
TABLE_CHECKS: tuple[CheckFunction, ...] = (
    server_checks.check_workers,
    data_checks.check_secrets,
    data_checks.check_channels,
    data_checks.check_alerts,
    data_checks.check_dead_letters,
    data_checks.check_users,
    data_checks.check_demo,
    data_checks.check_erasures,
)
NETWORK_CHECKS: tuple[CheckFunction, ...] = (network_checks.check_public_address, network_checks.check_providers)


def examine(*, with_network: bool = False, mail_to: str = "") -> list[Finding]:
    """Run the checks and return their findings, in English. What needs the database is left out without it."""
    with translation.override("en"):
        findings = run(CHECKS)
        unreachable = run([server_checks.check_database])
        findings += unreachable or run(DATABASE_CHECKS)
        if not unreachable and not any(finding.code == "database.migrations" for finding in findings):
            findings += run(TABLE_CHECKS)
            if with_network:
                findings += run(NETWORK_CHECKS)
        if mail_to:
            findings += run([partial(network_checks.send_test_mail, mail_to)])
    return findings


def run(checks: Iterable[CheckFunction]) -> list[Finding]:
    return [finding for check in checks for finding in run_check(check)]


def run_check(check: CheckFunction) -> Iterator[Finding]:
    """Yield the findings of a check. One that fails is a finding itself, so that the others still run."""
    try:
        yield from check()
    except Exception as problem:
        name = getattr(check, "__name__", "check")
        yield error("doctor.failed", f"{name}: {describe_error(problem)}", "Correct the cause, then repeat.")
