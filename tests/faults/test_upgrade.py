"""V: upgrades under traffic. Processes of two releases share a database through `migrate` and a rolling restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings

from tests.faults.conftest import FULL, SEED
from tests.faults.ledger import check
from tests.faults.provider import FakeProvider, call
from tests.faults.releases import (
    COMPATIBLE,
    INCOMPATIBLE,
    OLDEST_POSTGRES,
    PREVIOUS_RELEASE,
    Processes,
    Site,
    find_oldest_postgres,
    make_next_release,
    run_postgres,
    unpack_previous_release,
)
from tests.faults.stack import Shop, eventually

Size = Callable[..., int]
Say = Callable[[str], None]

RATE = 50.0  # messages of clients a second, and half as many replies
REPLY_EVERY = 2
MAX_LOCK_WAIT = 1.0
CATCH_UP = 600  # seconds: the driver of the traffic may be slower than its rate on a busy machine


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site(is_migrated=getattr(request, "param", True))
    yield site
    site.close()


class Traffic:
    """Clients' messages and operators' replies, in threads, until ``stop``."""

    def __init__(self, site: Site, shop: Shop, *, seed: int, rate: float) -> None:
        self.provider, self.rate = FakeProvider(site, shop, seed=seed), rate
        self.is_over = threading.Event()
        self.started = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        provider = self.provider
        threads = [
            threading.Thread(target=provider._work, args=(each, REPLY_EVERY), daemon=True) for each in provider.queues
        ]
        for thread in threads:
            thread.start()
        number = 0
        while not self.is_over.wait(max(0.0, self.started + number / self.rate - time.monotonic())):
            post = provider.message(number, clients=40)
            provider.queues[int(post.line) % len(provider.queues)].put(post)
            number += 1
        for each in provider.queues:
            each.put(None)
        for thread in threads:
            thread.join(CATCH_UP)

    def wait_for(self, count: int) -> None:
        """Wait until so many more requests were accepted."""
        goal = len(self.provider.accepted) + count
        eventually(lambda: len(self.provider.accepted) >= goal, seconds=120)

    def stop(self, *, after: float) -> None:
        """End the traffic, so many seconds after its start at the earliest, and wait until all is sent."""
        time.sleep(max(0.0, self.started + after - time.monotonic()))
        self.provider.give_up_at = time.monotonic() + CATCH_UP
        self.is_over.set()
        self.thread.join(CATCH_UP + 60)


def start_release(site: Site, tree: Path, *, migrate: bool) -> tuple[Processes, Shop]:
    old = site.release(tree)
    if migrate:
        old.run("migrate")
    site.add_operator()
    old.start_worker()
    old.start_beat()
    site.ports = [old.start_web("web-1"), old.start_web("web-2")]
    return old, site.shop()


@dataclass(frozen=True)
class Migration:
    """A finished run of `migrate`."""

    output: str
    seconds: float
    longest_wait: float  # of other sessions, for its locks


def migrate_with_measurement(site: Site, release: Processes) -> Migration:
    with site.measure_lock_waits() as waits:
        started = time.monotonic()
        output = release.run("migrate")
        seconds = time.monotonic() - started
    return Migration(output, seconds, max(waits))


def replace_processes(site: Site, old: Processes, new: Processes, *, first_port: int, is_worker_new: bool) -> None:
    """Restart one process after the other with the new code; the proxy sends a process nothing before it ends."""
    for number, name in enumerate(("web-1", "web-2")):
        site.ports = [*site.ports[1:], first_port if number == 0 else new.start_web(name)]
        old.stop(name)
    if not is_worker_new:
        new.start_worker()
    old.stop("worker")
    old.stop("beat")
    new.start_beat()


@pytest.mark.fault("V1", "the next release's schema under this one, at 75 messages/s: 0 lost, failed or repeated")
def test_an_upgrade_under_traffic(site: Site, tmp_path: Path, size: Size, measured: Say) -> None:
    upgrade_under_traffic(site, tmp_path, size, measured, migrate=False)


@pytest.mark.skipif(not FULL, reason="in make faults only: it migrates an empty database, which takes a minute")
@pytest.mark.fault("V4", f"V1 with PostgreSQL {OLDEST_POSTGRES}, all migrations included: 0 lost, failed or repeated")
def test_an_upgrade_with_the_oldest_postgres(tmp_path: Path, size: Size, measured: Say) -> None:
    binaries = find_oldest_postgres()
    if binaries is None:
        pytest.skip("no PostgreSQL under /usr/lib/postgresql")
    with run_postgres(binaries) as url:
        site = Site(is_migrated=False, server_url=url)
        try:
            measured(f"PostgreSQL {site.one('SHOW server_version')}")
            upgrade_under_traffic(site, tmp_path, size, measured, migrate=True)
        finally:
            site.close()


def upgrade_under_traffic(site: Site, tmp_path: Path, size: Size, measured: Say, *, migrate: bool) -> None:
    old, shop = start_release(site, settings.BASE_DIR, migrate=migrate)
    new = site.release(make_next_release(tmp_path, COMPATIBLE))
    traffic = Traffic(site, shop, seed=SEED + 81, rate=size(25, int(RATE), fixed=True))
    traffic.wait_for(20)

    port = new.start_web("web-early")  # before the database is migrated
    new.start_worker()
    refused = call(port, shop.phone_path, b"{}")
    schema = site.get_health(port)["components"]["schema"]
    assert refused.status == 503
    assert schema["state"] == "red" and "Run manage.py migrate" in schema["error"]
    eventually(lambda: "task waits for the database schema" in new.log("worker"), seconds=60)

    migration = migrate_with_measurement(site, new)
    assert "Applying bridge.9999_next_release" in migration.output
    traffic.wait_for(20)
    assert "No migrations to apply." in old.run("migrate")  # as after going back to the release before
    replace_processes(site, old, new, first_port=port, is_worker_new=True)
    finish(site, traffic, measured, migration=migration, seconds=size(1, 300))


@pytest.mark.skipif(not FULL, reason="in make faults only: tests/test_schema_mismatch.py checks each part")
@pytest.mark.fault("V2", "a schema that this release cannot write to: work waits, 0 lost, failed or repeated")
def test_an_incompatible_schema_under_traffic(site: Site, tmp_path: Path, size: Size, measured: Say) -> None:
    old, shop = start_release(site, settings.BASE_DIR, migrate=False)
    new = site.release(make_next_release(tmp_path, INCOMPATIBLE))
    traffic = Traffic(site, shop, seed=SEED + 82, rate=RATE)
    traffic.wait_for(20)
    migration = migrate_with_measurement(site, new)
    time.sleep(size(2, 20))  # the old processes meet the new schema
    replace_processes(site, old, new, first_port=new.start_web("web-early"), is_worker_new=False)
    finish(site, traffic, measured, migration=migration, seconds=size(1, 60), has_refused=True)


@pytest.mark.skipif(not FULL, reason="in make faults only: the migrations of a whole release take a minute")
@pytest.mark.fault(
    "V3", f"from the release before ({PREVIOUS_RELEASE}) to this one, at 75 messages/s: 0 lost or repeated"
)
@pytest.mark.parametrize("site", [False], indirect=True)
def test_the_upgrade_from_the_release_before(site: Site, tmp_path: Path, size: Size, measured: Say) -> None:
    tree = unpack_previous_release(tmp_path)
    if tree is None:
        pytest.skip(f"git has no commit {PREVIOUS_RELEASE} here")
    old, shop = start_release(site, tree, migrate=True)
    new = site.release(settings.BASE_DIR)
    traffic = Traffic(site, shop, seed=SEED + 83, rate=RATE)
    traffic.wait_for(100)
    migration = migrate_with_measurement(site, new)
    traffic.wait_for(100)
    replace_processes(site, old, new, first_port=new.start_web("web-early"), is_worker_new=False)
    finish(site, traffic, measured, migration=migration, seconds=size(1, 300))


def finish(
    site: Site,
    traffic: Traffic,
    measured: Say,
    *,
    migration: Migration,
    seconds: int,
    has_refused: bool = False,
) -> None:
    """Wait for the end of all work, and check that nothing was lost, failed, repeated or overtaken."""
    provider = traffic.provider
    traffic.wait_for(50)  # of the new processes alone
    traffic.stop(after=seconds)
    site.quiesce(provider.shop, seconds=120)
    ledger = check(site, provider)
    failed = site.one("SELECT count(*) FROM bridge_webhookevent WHERE state = 'failed'")
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(provider.statuses.items()))
    measured(
        f"{ledger.words}; {failed} failed events; answers: {statuses}; migrate {migration.seconds:.1f} s, "
        f"longest wait for its locks {migration.longest_wait:.2f} s; slowest request {max(provider.seconds):.1f} s"
    )
    complaints = [line for line in ledger.complaints if not (has_refused and line.startswith("L7"))]
    assert not complaints
    assert failed == 0
    assert set(provider.statuses) <= ({200, 503} if has_refused else {200})
    assert migration.longest_wait <= MAX_LOCK_WAIT
