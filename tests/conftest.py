"""Settings, hooks and shared fixtures of all tests. The servers are real: see `tests.servers_for_tests`."""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import django
import pytest
from django.core.cache import cache
from django.test import Client, TransactionTestCase
from django.utils import translation
from django.utils.module_loading import import_string
from hypothesis import settings as hypothesis_settings
from whitenoise.middleware import WhiteNoiseMiddleware
from xdist.scheduler import LoadScopeScheduling

from tests import databases, pages, servers_for_tests

# The suite starts hundreds of Python processes. Without cached bytecode each of them would compile the portal again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Must precede the reading of Django's settings. The xdist workers inherit the environment.
servers_for_tests.set_environment()
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
if servers_for_tests.attached_servers is not None:
    migrating = databases.start_migrating()
django.setup()
# Three replacements in other people's classes, because none of them has a setting for it:
# Django truncates every table after a transactional test, 0.25 s; deleting rows takes a few milliseconds.
TransactionTestCase._fixture_teardown = databases.empty_tables
# Every form of the desk carries the user and the chat it was rendered for, so every posted test form needs them.
Client.post = pages.with_desk_fields(Client.post)  # type: ignore[method-assign]
# WhiteNoise lists the static files once per middleware, and each test client builds its own middleware.
WhiteNoiseMiddleware.add_files_from_finders = pages.cache_static_files(WhiteNoiseMiddleware)

from bridge import wakeups  # noqa: E402
from bridge.call_limits import CallCounter  # noqa: E402
from bridge.metrics.counters import pending  # noqa: E402
from channels_setup.models import ApiChannel  # noqa: E402
from config.web.attempt_limits import AttemptLimit  # noqa: E402
from tests.factories import ApiChannelFactory, boris  # noqa: E402
from tests.pages import signed_in  # noqa: E402
from tests.receiver import Receiver  # noqa: E402
from tests.simulators.behavior import Behavior  # noqa: E402
from tests.simulators.meta import MetaSimulator  # noqa: E402
from tests.simulators.phones import Phone  # noqa: E402
from tests.worker import Worker  # noqa: E402  # reads Django's settings

pending.on_first_count = lambda: None  # tests flush where they read: no thread in the tests' own process

# --- collection -------------------------------------------------------------------------------------------

PROCESS_FIXTURES = {"page", "context", "stack", "worker", "worker_process"}
PROCESS_FILES = (
    "test_stack.py",
    "test_web.py",
    "test_proxy.py",
    "test_upgrade.py",
)  # these start their processes without a fixture
PROCESS_FOLDERS = ("tests/browser", "tests/faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast",
        action="store_true",
        help="no browser, no processes, nothing marked exhaustive, and one case of each parametrized test",
    )


def pytest_ignore_collect(collection_path: Any, config: pytest.Config) -> bool | None:
    is_slow = any(collection_path.match(folder) for folder in PROCESS_FOLDERS)
    return True if is_slow and config.option.fast else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["is_whole"] = not (node.config.option.file_or_dir or node.config.option.fast)


def pytest_configure(config: pytest.Config) -> None:
    """Import this worker's share of the test files first.

    On a fresh clone every xdist worker would rewrite the asserts of all files. This way each file is rewritten once.
    """
    worker = getattr(config, "workerinput", {})
    if not worker.get("is_whole"):
        return
    root = config.rootpath
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in sorted((root / "tests").rglob("test_*.py"))[number::count]:
        with suppress(Exception, pytest.skip.Exception):  # the collection reports both
            importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))


def pytest_unconfigure() -> None:
    servers_for_tests.release_servers()


# Properties get enough examples in `make test` to notice a regression, and many in `make faults`.
hypothesis_settings.register_profile("short", max_examples=25, deadline=None)
hypothesis_settings.register_profile("full", max_examples=500, deadline=None)
hypothesis_settings.load_profile("full" if os.environ.get("FAULTS") == "full" else "short")


def scheduling_scope(path: str) -> str:
    """Return what one xdist worker runs as a whole: a file, or all fault tests that share one running portal.

    Starting that portal is expensive, and a second one would take processor time from all other tests.
    """
    uses_portal = path.startswith("tests/faults/") and not path.endswith(
        ("races.py", "chain.py", "input.py", "upgrade.py")
    )
    return "tests/faults" if uses_portal else path


class PortalScheduling(LoadScopeScheduling):
    """`--dist loadfile` with our scopes. `_split_scope` is the method that xdist's own loadfile overrides."""

    def _split_scope(self, nodeid: str) -> str:
        return scheduling_scope(nodeid.split("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> PortalScheduling | None:
    return PortalScheduling(config, log) if config.option.dist == "loadfile" else None


def uses_processes(item: pytest.Item) -> bool:
    return item.path.name in PROCESS_FILES or bool(PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Select for `--fast`, retry tests on real processes once, and put the longest files first.

    A browser or a child process can time out because the machine is busy, so one failure of such a test proves little.
    The summary lists every retry. Other tests run once. `make faults`, which measures, and `-p no:rerunfailures` retry
    nothing. A long file at the end would leave the other workers idle.
    """
    if config.option.fast:
        deselect_slow_tests(config, items)
    may_retry = os.environ.get("FAULTS") != "full" and config.pluginmanager.hasplugin("rerunfailures")
    weights: Counter[str] = Counter()
    for item in items:
        scope = scheduling_scope(item.nodeid.split("::")[0])
        if uses_processes(item):
            weights[scope] += 1000
            if may_retry:
                item.add_marker(pytest.mark.flaky(reruns=1))
        elif item.get_closest_marker("exhaustive"):
            weights[scope] += 1
    items.sort(key=lambda item: -weights[scheduling_scope(item.nodeid.split("::")[0])])


def deselect_slow_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: set[str] = set()
    selected, deselected = [], []
    for item in items:
        function = item.nodeid.split("[")[0]
        is_slow = uses_processes(item) or item.get_closest_marker("exhaustive") or function in seen
        (deselected if is_slow else selected).append(item)
        seen.add(function)
    items[:] = selected
    config.hook.pytest_deselected(items=deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the retried tests with the reason of their first failure, and each reason for skipping with its count."""
    retried = terminalreporter.stats.get("rerun", [])
    if retried:
        terminalreporter.line(f"{len(retried)} retried after a failure:")
    for report in retried:
        terminalreporter.line(f"  {report.nodeid} ({report.when}): {failure_message(report)}")
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")


def failure_message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join(crash.message.split())[:400] if crash else str(report.longrepr)[-400:]


# --- fixtures ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    databases.wait_until_migrated()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on loopback for a channel's Redirect URL. It records every request."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def meta(receiver: Receiver) -> Iterator[MetaSimulator]:
    """A simulator of Meta that posts its webhooks to the receiver's /hook."""
    behavior = Behavior(retry_seconds=0.02, gather_seconds=0.05)
    with MetaSimulator(webhook_url=receiver.url("/hook"), seed=7, behavior=behavior) as meta:
        yield meta


@pytest.fixture
def anna(meta: MetaSimulator) -> Phone:
    """Anna's phone at the simulator. She has written, so the window is open."""
    anna = meta.phone("447700900101", name="Анна")
    anna.wrote_at = meta.now()
    return anna


@pytest.fixture
def in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def channel(db: None) -> ApiChannel:
    """A live API channel with a chat channel of its own."""
    return ApiChannelFactory()


@pytest.fixture
def desk(channel: ApiChannel, client: Client) -> Client:
    """The test client of Boris, an operator of the channel."""
    return signed_in(client, boris(channel.default_chat_channel))


@pytest.fixture(autouse=True)
def fresh_process_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset what the portal keeps per process: caches, rate limits and the active language.

    Channels are not cached, so that a test's changes count for its next webhook. Wrong tokens are not limited, because
    all tests of a process share one address.
    """
    monkeypatch.setattr("bridge.settings_cache.CACHE_SECONDS", -1.0)
    monkeypatch.setattr("config.accounts.wrong_tokens.WRONG_TOKENS", AttemptLimit(max_attempts=1_000_000, seconds=60))
    for name in ("accounts.login.ADDRESS_FAILURES", "accounts.login.DEVICE_FAILURES", "web.csp_reports.REPORT_CALLS"):
        limit = import_string(f"config.{name}")
        monkeypatch.setattr(f"config.{name}", AttemptLimit(max_attempts=limit.max_attempts, seconds=limit.seconds))
    monkeypatch.setattr("bridge.call_limits.call_counter", CallCounter())
    monkeypatch.setattr("config.audit.record._recent_looks", {})
    cache.clear()  # django-allauth counts attempts there
    translation.deactivate()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tasks enqueued by wake-ups during the test. Notification marks never expire meanwhile."""
    names: list[str] = []
    monkeypatch.setattr(wakeups, "NOTIFICATION_TTL_MS", 600_000)
    monkeypatch.setattr(wakeups.current_app, "send_task", lambda name, *_args, **_options: names.append(name))
    for task in wakeups.TASKS:
        wakeups.clear_notification(task)
    return names


workers: list[Worker] = []


@pytest.fixture(autouse=True)
def stop_idle_worker(request: pytest.FixtureRequest) -> None:
    """Stop a worker of earlier tests: it would process the rows of a test that plays the worker itself."""
    if "worker" not in request.fixturenames:
        for worker in workers:
            if worker.is_running:
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
    """A running Celery worker on every queue, without beat. Rows are committed and deleted afterwards.

    Call a task with `.delay()` or commit rows whose wake-up does. `worker.settle()` waits for all of it.
    """
    worker_process.start()
    yield worker_process
    worker_process.settle()
