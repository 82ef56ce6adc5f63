"""The real stack in a folder of its own, behind two gates, with shops (channels) made for each test."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import redis
from django.conf import settings
from django.db import connection, models

from channels_setup import encryption
from channels_setup.models import ApiChannel, ChatChannel
from config.devstack.servers import attach_servers
from tests.faults import failpoints
from tests.faults.gate import TcpGate
from tests.faults.receiver import HostileReceiver
from tests.processes import TEST_RUN_VARIABLES, eventually, free_port

CANARY = "КАНАРЕЙКА-7731"  # part of every text, and must not be in any log
PHONE = "+79990007731"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A chat channel with a training phone's channel (its clients come by webhook) and one that posts to ``path``."""

    path: str
    chat_channel: int
    phone: int
    phone_path: str  # of the webhook
    poster: int
    poster_path: str
    secret: str
    log_sizes: tuple[tuple[int, int], ...]  # by inode, when it was made: a log that is full gets another name


class Stack:
    def __init__(self, **environment: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="okno-faults-"))
        self.servers = attach_servers(data_dir=self.folder, kinds=("postgres", "valkey"))
        self.database = TcpGate(self.servers.state("postgres")["port"])
        self.broker = TcpGate(self.servers.state("valkey")["port"])
        self.receiver = HostileReceiver(self.folder / "received.jsonl")
        self.port = free_port()
        failpoints.folder(self.folder).mkdir()
        kept = {name: text for name, text in os.environ.items() if name not in TEST_RUN_VARIABLES}
        self.environment = kept | {
            "DATA_DIR": str(self.folder),
            "DEMO": "0",
            "PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "SECRET_KEY": os.environ["SECRET_KEY"],
            "FIELD_KEYS": os.environ["FIELD_KEYS"],  # ours, so that we can make secret keys for it
            "DATABASE_URL": through(self.servers.urls["DATABASE_URL"], self.database.port),
            "REDIS_URL": through(self.servers.urls["REDIS_URL"], self.broker.port),
            "WORKER_CONCURRENCY": "4",  # with fewer, no run waits for wake-ups
            "API_CALLS_PER_MINUTE": "0",  # one key posts what many clients write
            **environment,
        }
        self.valkey: Any = redis.Redis.from_url(self.servers.urls["REDIS_URL"])
        self.kills = 0
        self.shops = 0
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.operator = self.rows(
            "INSERT INTO accounts_user (password, is_superuser, username, first_name, last_name, email, is_staff,"
            " is_active, date_joined) VALUES ('!', TRUE, 'boris', '', '', '', FALSE, TRUE, now()) RETURNING id"
        )[0][0]

    # --- the processes ---

    def start(self) -> None:
        with open(self.folder / "up.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--die-with-parent"],
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(  # it migrates first
            lambda: "ready" in self.words() or self.process is None or self.process.poll() is not None, seconds=300
        )
        assert "ready" in self.words(), self.words()

    def words(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")

    def pids(self) -> dict[str, int]:
        """Return the processes and their children that a test may kill."""
        with suppress(OSError, ValueError):
            listed = json.loads((self.folder / "stack.json").read_text())["processes"]
            found = {process["name"]: process["pid"] for process in listed}
            for name, pid in list(found.items()):
                found |= {f"{name} child {child}": child for child in children(pid)}
            return found
        return {}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> bool:
        pid = self.pids().get(name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.kills += 1
            return True
        return False

    def arm(self, point: str, count: int) -> None:
        for number in range(count):
            (failpoints.folder(self.folder) / f"{point}.{number:04d}").touch()

    def armed(self, point: str) -> int:
        return len(list(failpoints.folder(self.folder).glob(f"{point}.*")))

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.receiver.close()
        self.valkey.close()
        for gate in (self.database, self.broker):
            gate.close()
        self.servers.release()

    def logs(self, *, since: Shop | None = None) -> dict[str, str]:
        """Return log file -> its text since the shop was created."""
        begins = dict(since.log_sizes) if since else {}
        return {
            file.name: file.read_bytes()[begins.get(file.stat().st_ino, 0) :].decode(errors="replace")
            for file in self._log_files()
        }

    def _log_files(self) -> list[Path]:
        return [*(self.folder / "logs").glob("*.log*"), self.folder / "up.log"]

    # --- the database, without the gate ---

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        line = psycopg2.connect(self.servers.urls["DATABASE_URL"], connect_timeout=5)
        try:
            with line, line.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            line.close()

    def one(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self.rows(query, values)[0][0]

    def insert(self, row: models.Model) -> int:
        """Insert the row into the stack's database, which is not the test's, as Django would."""
        fields = [field for field in row._meta.concrete_fields if not field.primary_key]
        values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
        names, marks = ", ".join(field.column for field in fields), ", ".join(["%s"] * len(fields))
        table = row._meta.db_table
        return int(self.one(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", values))

    def shop(self, **channel: Any) -> Shop:
        with self.lock:
            self.shops += 1
            path = f"/shop-{self.shops}"
        chat_channel = self.insert(ChatChannel(name=path, kind="desk", company_id=1))
        phone, phone_path = self._channel("sandbox", "", chat_channel)
        poster, poster_path = self._channel("acebot", self.receiver.url(path), chat_channel, **channel)
        return Shop(
            path=path,
            chat_channel=chat_channel,
            phone=phone,
            phone_path=phone_path,
            poster=poster,
            poster_path=poster_path,
            secret=self.new_secret(poster),
            log_sizes=tuple((file.stat().st_ino, file.stat().st_size) for file in self._log_files()),
        )

    def _channel(self, kind: str, redirect_url: str, chat_channel: int, **more: Any) -> tuple[int, str]:
        token = encryption.new_webhook_token()
        app_id = 10_000 + secrets.randbelow(9_000_000)
        row = ApiChannel(kind=kind, redirect_url=redirect_url, app_id=app_id, state="live", **more)
        row.name = f"{kind} {token[:6]}"
        pk = self.insert(row)
        self.rows(
            "INSERT INTO channels_setup_webhookaddress (api_channel_id, token, digest, tail, created_at)"
            " VALUES (%s, %s, %s, %s, now())",
            [pk, encryption.encrypt(token), encryption.fingerprint(token), encryption.visible_tail(token)],
        )
        self.rows(
            "INSERT INTO channels_setup_apichannel_watched (apichannel_id, chatchannel_id) VALUES (%s, %s)",
            [pk, chat_channel],
        )
        return pk, f"/webhooks/{kind}/{token}/"

    def new_secret(self, api_channel: int, *, old_until: str = "now()") -> str:
        """Issue a secret like ``ApiChannel.issue_secret``. The previous one ends at ``old_until`` (SQL)."""
        value = encryption.new_secret_key()
        self.rows(
            f"UPDATE channels_setup_secret SET expires_at = {old_until} WHERE api_channel_id = %s"
            " AND expires_at IS NULL",
            [api_channel],
        )
        self.rows(
            "INSERT INTO channels_setup_secret (api_channel_id, token, digest, tail, created_at)"
            " VALUES (%s, %s, %s, %s, now())",
            [api_channel, encryption.encrypt(value), encryption.fingerprint(value), value[-4:]],
        )
        return value

    # --- waiting ---

    def unfinished(self, shop: Shop) -> int:
        """Return the number of unprocessed events and unfinished deliveries."""
        return int(
            self.one(
                "SELECT (SELECT count(*) FROM bridge_webhookevent WHERE state = 'new' AND api_channel_id IN (%s, %s))"
                " + (SELECT count(*) FROM bridge_delivery WHERE state IN ('pending', 'sending')"
                "    AND api_channel_id IN (%s, %s))",
                [shop.phone, shop.poster] * 2,
            )
        )

    def quiesce(self, shop: Shop, *, seconds: float) -> float:
        """Wait until the shop has no unfinished work. Return the seconds it took."""
        started = time.monotonic()
        quiet = 0
        while quiet < 3:
            assert time.monotonic() - started < seconds, f"{self.unfinished(shop)} still on their way"
            with suppress(psycopg2.OperationalError):
                quiet = quiet + 1 if self.unfinished(shop) == 0 else 0
            time.sleep(0.1)
        return time.monotonic() - started


def through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found
