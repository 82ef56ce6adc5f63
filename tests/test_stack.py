"""The processes of the portal: `manage.py up`, commands next to it and alone, containers.

These tests start real processes on a data folder of their own. They share one running stack, in file order.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from config.celery import QUEUES, VISIBILITY_TIMEOUT, app
from config.devstack.processes import has_signal_handler
from tests.databases import create_migrated_database
from tests.load.memory import group_of, list_descendants
from tests.processes import TEST_RUN_VARIABLES, eventually, free_port
from tests.servers_for_tests import own_valkey_database

PROJECT = settings.BASE_DIR
SHOW_CONCURRENCY = "from django.conf import settings as s; print(s.WORKER_CONCURRENCY)"


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Stack:
    """One `manage.py up`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}
        self.environment = kept | {"DATA_DIR": str(folder), "DEMO": "0", "WORKER_CONCURRENCY": "1"} | environment
        self.output = folder.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--die-with-parent"],
                cwd=PROJECT,
                env=self.environment | {"PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )
        eventually(lambda: "ready" in self.words() or self.process is None or self.process.poll() is not None)
        assert "ready" in self.words(), self.words()

    def words(self) -> str:
        return self.output.read_text()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=60)

    def processes(self) -> dict[str, dict[str, Any]]:
        listed = json.loads((self.folder / "stack.json").read_text())
        return {process["name"]: process for process in listed["processes"]}

    def pid(self, name: str) -> int:
        pid: int = self.processes()[name]["pid"]
        return pid

    def is_live(self) -> bool:
        return self.answers("/health/live")

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack") / "мои данные")
    stack.start()
    yield stack
    if stack.process is not None and stack.process.poll() is None:
        stack.stop()


def test_up_prints_one_line_when_it_is_ready(stack: Stack) -> None:
    lines = stack.words().splitlines()

    assert len(lines) == 1
    assert lines[0].startswith(f"ready http://127.0.0.1:{stack.port} ")
    assert "user add" in lines[0]  # without demo data there are no logins: the line says how to create one
    assert stack.is_live()


def test_the_printed_command_creates_a_user_of_this_portal(stack: Stack) -> None:
    command = stack.words().strip().partition("create the first user: ")[2]
    environment = {name: text for name, text in stack.environment.items() if name != "DATA_DIR"}

    printed = subprocess.run(["sh", "-c", command], cwd=PROJECT, env=environment, capture_output=True, text=True)

    assert printed.returncode == 0 and printed.stderr == "", printed.stderr
    assert "password" in printed.stdout
    assert stack.manage("user", "role", "vera", "admin").stdout == "vera: Admin\n"


def test_a_command_uses_the_settings_that_only_the_portal_was_given(stack: Stack) -> None:
    environment = {name: text for name, text in stack.environment.items() if name != "WORKER_CONCURRENCY"}

    shown = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", SHOW_CONCURRENCY],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert shown.stdout.split() == ["1"], shown.stderr


def test_stack_json_lists_every_process_with_its_pid_and_port(stack: Stack) -> None:
    processes = stack.processes()

    assert list(processes) == ["postgres", "valkey", "web", "worker", "beat"]
    assert all(is_alive(process["pid"]) for process in processes.values())
    assert {name for name, process in processes.items() if "port" in process} == {"postgres", "valkey", "web"}
    assert processes["web"]["port"] == stack.port


def test_up_consists_of_few_processes_that_share_their_code(stack: Stack) -> None:
    """The workers of web and Celery are forked from a parent that has loaded the portal (docs/decisions.md)."""
    assert stack.process is not None
    eventually(lambda: len(list_descendants(stack.pid("worker"))) == 2)

    groups = Counter(group_of(pid) for pid in list_descendants(stack.process.pid))

    del groups["postgres"]  # one process per connection
    assert groups == {"up": 1, "logs": 3, "daemons": 2, "valkey": 1, "web": 3, "worker": 2, "beat": 1}


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        ("config.devstack.up", ("celery", "redis", "psycopg2", "django.conf", "django.db", "django.apps")),
        ("config.devstack.server_daemon", ("celery", "redis", "psycopg2", "django")),
        ("config.beat", ("django.db", "django.http", "bridge", "unfold", "psycopg2", "celery.bin", "config.settings")),
    ],
)
def test_small_programs_do_not_load_the_portal(program: str, unwanted: tuple[str, ...]) -> None:
    code = f"import json, sys, {program}; print(json.dumps(sorted(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert not set(json.loads(result.stdout)) & set(unwanted)


def test_a_second_up_on_the_same_folder_is_refused_with_an_explanation(stack: Stack) -> None:
    second = stack.manage("up")

    assert second.returncode == 1
    assert "already running" in second.stderr and "Traceback" not in second.stderr
    assert stack.is_live()


def test_a_port_in_use_is_an_error_message(stack: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path / "var", PORT=str(stack.port))

    refused = other.manage("up")

    assert refused.returncode == 1
    assert f"Port {stack.port} is in use" in refused.stderr and "Traceback" not in refused.stderr


def test_a_command_finds_the_servers_of_a_running_stack(stack: Stack) -> None:
    code = "from django.conf import settings as s; print(s.DATABASES['default']['PORT'], s.PUBLIC_URL)"

    result = stack.manage("shell", "-v", "0", "-c", code)

    assert result.stdout.split() == [str(stack.processes()["postgres"]["port"]), f"http://127.0.0.1:{stack.port}"]
    assert stack.is_live()


def test_ready_succeeds_when_beat_and_the_workers_have_reported(stack: Stack) -> None:
    eventually(lambda: stack.answers("/health/ready"), seconds=60)
    assert stack.manage("health").returncode == 0


@pytest.mark.parametrize("name", ["web", "worker", "beat", "postgres", "valkey"])
def test_a_killed_process_is_restarted_and_logged(stack: Stack, name: str) -> None:
    before = stack.pid(name)

    os.kill(before, signal.SIGKILL)

    eventually(lambda: name in stack.processes() and stack.pid(name) != before)
    assert is_alive(stack.pid(name))
    assert f"\n{name} stopped" in stack.words()
    eventually(stack.is_live)


def test_secrets_are_readable_only_by_the_owner_and_on_no_command_line(stack: Stack) -> None:
    path = stack.folder / "secrets.json"
    secrets = json.loads(path.read_text())
    lines = [Path(f"/proc/{one['pid']}/cmdline").read_text() for one in stack.processes().values()]

    assert path.stat().st_mode & 0o777 == 0o600
    assert not [line for line in lines for secret in secrets.values() if secret in line]


def test_both_servers_require_the_password(stack: Stack) -> None:
    import psycopg2
    import redis

    ports = {name: process.get("port") for name, process in stack.processes().items()}

    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(host="127.0.0.1", port=ports["postgres"], user="okno", dbname="okno", password="guess")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=ports["valkey"] or 0).ping()


def test_sigterm_stops_every_process_quickly_and_cleanly(stack: Stack) -> None:
    pids = [process["pid"] for process in stack.processes().values()]
    began = time.monotonic()

    code = stack.stop()

    assert code == 0
    assert time.monotonic() - began < 15
    assert not [pid for pid in pids if is_alive(pid)]
    assert not (stack.folder / "stack.json").exists()


def test_a_lone_command_starts_the_servers_and_stops_them_afterwards(stack: Stack) -> None:
    result = stack.manage(
        "shell", "-v", "0", "-c", "from config.accounts.models import User; print(User.objects.count())"
    )

    assert result.stdout.strip().isdigit(), result.stderr
    states = [json.loads((stack.folder / kind / "state.json").read_text()) for kind in ("postgres", "valkey")]
    assert [state["pid"] for state in states] == [None, None]
    assert not [state for state in states if is_alive(state["daemon"])]


def test_kill_9_of_up_leaves_nothing_behind_and_the_next_start_works(stack: Stack) -> None:
    stack.start()
    pids = [process["pid"] for process in stack.processes().values()]

    stack.stop(signal.SIGKILL)

    eventually(lambda: not [pid for pid in pids if is_alive(pid)])
    stack.start()
    assert stack.is_live()
    assert stack.stop(signal.SIGINT) == 0


def test_external_servers_are_used_and_none_is_started(tmp_path: Path) -> None:
    # The servers of the test run, as external ones: another database next to the tests', and a high Valkey database
    # number.
    server = connection.settings_dict
    url = f"postgres://{server['USER']}:{server['PASSWORD']}@{server['HOST']}:{server['PORT']}/{create_migrated_database('given')}"
    broker = own_valkey_database(settings.REDIS_URL).rpartition("/")[0] + "/60"
    stack = Stack(tmp_path / "var", DATABASE_URL=url, REDIS_URL=broker, WORKERS="2")

    stack.start()

    try:
        assert list(stack.processes()) == ["web", "worker-1", "worker-2", "beat"]
        assert not (stack.folder / "postgres").exists() and not (stack.folder / "valkey").exists()
    finally:
        assert stack.stop() == 0


def test_a_stopped_caller_is_noticed_by_its_lost_signal_handler() -> None:
    """make does not forward a SIGINT that was sent only to it; see supervisor.follow_parent."""
    program = "import signal, sys; signal.signal(2, signal.default_int_handler);"  # background processes ignore it
    program += "print(flush=True); sys.stdin.read(1); signal.signal(2, signal.SIG_DFL);"
    program += "print(flush=True); sys.stdin.read(1)"
    caller = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert caller.stdin is not None and caller.stdout is not None

    caller.stdout.readline()
    before = has_signal_handler(caller.pid, signal.SIGINT)
    caller.stdin.write(b".")
    caller.stdout.readline()
    after = has_signal_handler(caller.pid, signal.SIGINT)
    caller.communicate(b".")

    assert (before, after) == (True, False)


@pytest.mark.django_db
def test_the_suite_runs_on_a_real_postgresql_18() -> None:
    with connection.cursor() as cursor:
        cursor.execute("show server_version_num")
        (version,) = cursor.fetchone()

    assert int(version) >= 180000


# --- celery settings -----------------------------------------------------------------------------------------


def test_the_visibility_timeout_is_the_same_in_three_places() -> None:
    assert app.conf.broker_transport_options["visibility_timeout"] == VISIBILITY_TIMEOUT
    assert app.conf.result_backend_transport_options["visibility_timeout"] == VISIBILITY_TIMEOUT
    assert app.conf.visibility_timeout == VISIBILITY_TIMEOUT
    assert app.conf.task_time_limit * 2 < VISIBILITY_TIMEOUT
    with app.connection_for_read() as broker:
        assert broker.default_channel.visibility_timeout == VISIBILITY_TIMEOUT


def test_a_killed_worker_returns_its_task_and_prefetches_one() -> None:
    assert app.conf.task_acks_late and app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1
    assert not app.conf.worker_cancel_long_running_tasks_on_connection_loss
    assert app.conf.task_ignore_result and app.conf.result_backend is None


def test_every_scheduled_task_exists_on_a_consumed_queue() -> None:
    app.loader.import_default_modules()

    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert app.amqp.router.route({}, entry["task"])["queue"].name in QUEUES


def test_only_json_is_accepted_from_the_broker() -> None:
    assert app.conf.accept_content == ["json"] and app.conf.task_serializer == "json"
