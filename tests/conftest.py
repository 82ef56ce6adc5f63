"""The ground the tests stand on: real PostgreSQL and Valkey of their own, and nothing beyond loopback."""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import django
import pytest
from django.test import Client, TransactionTestCase
from django.utils import translation
from django.utils.module_loading import import_string
from hypothesis import settings as hypothesis_settings
from whitenoise.middleware import WhiteNoiseMiddleware
from xdist.scheduler import LoadScopeScheduling

from tests import databases, pages, servers_for_tests

# Whoever has forbidden Python to keep what it has compiled would have every process of the suite, and there are
# hundreds, compile the portal anew, and each of xdist's all the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Before Django reads its settings; xdist's processes inherit the environment.
servers_for_tests.set_environment()
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
if servers_for_tests.held is not None:
    migrating = databases.start_migrating()
django.setup()
TransactionTestCase._fixture_teardown = databases.empty
Client.post = pages.with_fields_of_the_desk(Client.post)  # type: ignore[method-assign]
WhiteNoiseMiddleware.add_files_from_finders = pages.static_files_listed_once(WhiteNoiseMiddleware)

from bridge import wakeups  # noqa: E402
from bridge.call_limits import CallCounter  # noqa: E402
from channels_setup.models import ApiChannel  # noqa: E402
from config.web.attempt_limits import AttemptLimit  # noqa: E402
from tests.factories import ApiChannelFactory, boris  # noqa: E402
from tests.pages import signed_in  # noqa: E402
from tests.receiver import Receiver  # noqa: E402
from tests.simulators.behaviour import Behaviour  # noqa: E402
from tests.simulators.meta import MetaSimulator  # noqa: E402
from tests.simulators.phones import Phone  # noqa: E402
from tests.worker import Worker  # noqa: E402  # reads Django's settings


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["is_whole"] = not node.config.option.file_or_dir


def pytest_configure(config: pytest.Config) -> None:
    """On a fresh clone each of xdist's processes would rewrite the asserts of every file: they share the files out."""
    worker = getattr(config, "workerinput", {})
    if not worker.get("is_whole"):
        return
    root = config.rootpath
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in sorted((root / "tests").rglob("test_*.py"))[number::count]:
        with suppress(Exception):  # the collection tells it, in its own words
            importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_unconfigure() -> None:
    servers_for_tests.release_servers()


# `make faults` takes every property with many examples, `make test` with enough to notice a property that broke.
hypothesis_settings.register_profile("short", max_examples=25, deadline=None)
hypothesis_settings.register_profile("full", max_examples=500, deadline=None)
hypothesis_settings.load_profile("full" if os.environ.get("FAULTS") == "full" else "short")

REAL_PROCESSES = {"page", "context", "stack", "worker", "worker_process", "shop"}
REAL_HTTP = {"live_server", "meta", "simulator", "receiver"}  # a server in a thread, and the clock runs on meanwhile


def unit(path: str) -> str:
    """What one process takes as a whole: a file; and all the files of faults that break the same running portal.

    Starting that portal is dear, and one that runs beside the other tests costs them a good part of a processor.
    """
    broken_on_purpose = path.startswith("tests/faults/") and not path.endswith(("races.py", "chain.py", "input.py"))
    return "tests/faults" if broken_on_purpose else path


class ByUnits(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid.split("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByUnits | None:
    return ByUnits(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real processes, a browser or HTTP wait for others: once, on a machine out of breath, is no proof.

    They have a second try, and the summary says which took it and why. All others have one, and `make faults`, which
    measures. And the files on real processes begin first: the longest at the end would leave the others idle.
    """
    slow: Counter[str] = Counter()
    for item in items if os.environ.get("FAULTS") != "full" else ():
        of_its_own = item.path.name in ("test_stack.py", "test_web.py", "test_proxy.py")
        fixtures = set(getattr(item, "fixturenames", ()))
        if of_its_own or (REAL_PROCESSES | REAL_HTTP) & fixtures:
            item.add_marker(pytest.mark.flaky(reruns=1))
        if of_its_own or REAL_PROCESSES & fixtures:
            slow[unit(item.nodeid.split("::")[0])] += 1
    items.sort(key=lambda item: -slow[unit(item.nodeid.split("::")[0])])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason of skipping, however many tests it keeps from running."""
    skipped = terminalreporter.stats.get("skipped", [])
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.line(f"needed a second try: {report.nodeid} ({report.when}): {why(report)}")
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")


def why(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join(crash.message.split())[:400] if crash else str(report.longrepr)[-400:]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    databases.wait_until_migrated()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody's server behind a Redirect URL, on loopback; it remembers all it was sent."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def meta(receiver: Receiver) -> Iterator[MetaSimulator]:
    """A simulator of Meta that posts its webhooks to the receiver's /hook."""
    behaviour = Behaviour(retry_seconds=0.02, gather_seconds=0.05)
    with MetaSimulator(webhook_url=receiver.url("/hook"), seed=7, behaviour=behaviour) as meta:
        yield meta


@pytest.fixture
def anna(meta: MetaSimulator) -> Phone:
    """A client's phone at that simulator. She has written, so the window is open."""
    anna = meta.phone("447700900101", name="Анна")
    anna.wrote_at = meta.now()
    return anna


@pytest.fixture
def in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def channel(db: None) -> ApiChannel:
    """A live one whose chats land in a chat channel of its own."""
    return ApiChannelFactory()


@pytest.fixture
def desk(channel: ApiChannel, client: Client) -> Client:
    """Boris, who answers the channel's chats, before his desk."""
    return signed_in(client, boris(channel.default_chat_channel))


@pytest.fixture(autouse=True)
def webhooks_remember_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test changes on a channel counts for the next webhook."""
    monkeypatch.setattr("bridge.intake.webhooks.CHANNEL_CACHE_SECONDS", -1.0)


@pytest.fixture(autouse=True)
def wrong_tokens_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests of a process come from one address, and many of them have wrong tokens."""
    monkeypatch.setattr("config.accounts.wrong_tokens.WRONG_TOKENS", AttemptLimit(max_attempts=1_000_000, seconds=60))


@pytest.fixture(autouse=True)
def limits_count_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits per address and key are kept in the process, which many tests share."""
    for place in ("accounts.login.ADDRESS_FAILURES", "accounts.login.DEVICE_FAILURES", "web.csp_reports.REPORT_CALLS"):
        limit = import_string(f"config.{place}")
        monkeypatch.setattr(f"config.{place}", AttemptLimit(max_attempts=limit.max_attempts, seconds=limit.seconds))
    monkeypatch.setattr("bridge.call_limits.call_counter", CallCounter())


@pytest.fixture(autouse=True)
def no_language_is_left_over() -> None:
    """A request leaves its language active in the thread. Each test begins with the portal's own."""
    translation.deactivate()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that doorbells call: none yet, and no call is ever taken for lost."""
    names: list[str] = []
    monkeypatch.setattr(wakeups, "NOTIFICATION_TTL_MS", 600_000)
    monkeypatch.setattr(wakeups.current_app, "send_task", lambda name, *_more, **_options: names.append(name))
    for bell in wakeups.TASKS:
        wakeups.clear_notification(bell)
    return names


workers: list[Worker] = []


@pytest.fixture(autouse=True)
def no_worker_uninvited(request: pytest.FixtureRequest) -> None:
    """A worker left running by an earlier test would take the rows of one that plays the worker itself."""
    if "worker" not in request.fixturenames:
        for worker in workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.stop()


@pytest.fixture(scope="session")
def worker_process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One real Celery worker for the session, on this process's test database and Valkey database."""
    worker = Worker(log=tmp_path_factory.mktemp("worker") / "worker.log")
    workers.append(worker)
    yield worker
    worker.stop()


@pytest.fixture
def worker(worker_process: Worker, transactional_db: None) -> Iterator[Worker]:
    """A running Celery worker (every queue, no beat: ring with .delay(), or commit what rings by itself).

    `worker.settle()` waits until all it was given is done. Rows are committed and truncated afterwards.
    """
    worker_process.start()
    yield worker_process
    worker_process.settle()
