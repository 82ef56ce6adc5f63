"""Benchmark of the desk's pages at several sizes: server time and number of database queries.

    python -m tests.load.bench_desk 1000 100000       sizes in chats; each data set is generated
    python -m tests.load.bench_desk 1000 /tmp/okno    or a DATA_DIR filled by `make demo-data`
    python -m tests.load.bench_desk --only thread /tmp/okno

Each size is measured in its own process: through Django's handler with all middleware and without the network, and
then over HTTP on the real web server. Each cell has, in milliseconds: number of queries; p50 / p95 in the process; CPU
time of the process + of its PostgreSQL process, which other load on the machine does not change; p50 / p95 over HTTP. A
page above the target is marked with "!". Pages are printed as they are measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.load.desk_pages import Page, list_pages
from tests.load.results import get_percentile

WARM_UP = 2
TARGET = 50  # ms of p95 in the process
TARGET_PAGES = ("list:", "thread:", "poll:")


def measure(folder: str, given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the figures of each page."""
    os.environ |= {"DATA_DIR": folder, "DEMO": "0", "DEBUG": "no", "DJANGO_SETTINGS_MODULE": "config.settings"}
    from config.devstack import environment_setup

    environment_setup.prepare_environment(["manage.py", "shell"])
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from channels_setup import prepared_statements

    prepared_statements.enable_reads()  # as the web server does
    call_command("migrate", verbosity=0)
    operator, admin = Client(SERVER_NAME="localhost"), Client(SERVER_NAME="localhost")
    sign_in(operator, admin)
    pages: list[Page] = []
    result: dict[str, dict[str, Any]] = {}
    for page in list_pages(operator):  # each is measured before the next is built: versions of polls expire
        if not page.name.startswith(given.only):
            continue
        pages.append(page)
        result[page.name] = measure_in_process(admin if page.is_admins else operator, page, turns=given.turns)
        print(page.name, format_cell(page.name, result[page.name]), file=sys.stderr, flush=True)
        if given.slow and result[page.name]["p50"] > given.slow:
            print(result[page.name]["statement"], file=sys.stderr, flush=True)
    if given.profile:
        print_profile(operator, next(page for page in pages if page.name == given.profile), turns=given.turns)
    if not given.no_http:
        with web_server() as port:
            for page in pages:
                client = admin if page.is_admins else operator
                result[page.name] |= measure_over_http(client, page, port, turns=given.turns)
    if environment_setup.servers:
        environment_setup.servers.release()
    return result


def sign_in(operator: Any, admin: Any) -> None:
    """Sign in an operator of all channels and an admin, and add an operator who has no chats."""
    from django.contrib.auth import get_user_model

    from channels_setup.models import ChatChannel
    from channels_setup.roles import Role, assign_role

    people: Any = get_user_model().objects
    operator.force_login(people.get(username="operator1"))
    if not people.filter(username="newcomer").exists():
        newcomer = people.create_user("newcomer", first_name="Новый", last_name="Человек")
        assign_role(newcomer, role=Role.OPERATOR, chat_channels=list(ChatChannel.objects.all()))
        assign_role(people.create_user("manager", first_name="Анна", last_name="Старшая"), role=Role.ADMIN)
    admin.force_login(people.get(username="manager"))


def measure_in_process(client: Any, page: Page, *, turns: int) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def load() -> None:
        status = client.get(page.address, headers=page.headers).status_code
        assert status in page.statuses, (status, page)

    spent = read_database_cpu()
    wall, processor = time_calls(load, turns)
    database = (read_database_cpu() - spent) / (turns + WARM_UP)
    with CaptureQueriesContext(connection) as queries:
        load()
    slowest = max(queries.captured_queries, key=lambda query: float(query["time"]))
    return {
        "p50": get_percentile(wall, 0.5),
        "p95": get_percentile(wall, 0.95),
        "cpu": get_percentile(processor, 0.5),
        "database": database,
        "queries": len(queries),
        "slowest": float(slowest["time"]) * 1000,
        "statement": slowest["sql"],
    }


def read_database_cpu() -> float:
    """Return the CPU milliseconds that the PostgreSQL process of this connection has used."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(Path(f"/proc/{cursor.fetchone()[0]}/schedstat").read_text().split()[0]) / 1e6


def measure_over_http(client: Any, page: Page, port: int, *, turns: int) -> dict[str, Any]:
    from django.conf import settings

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    headers = page.headers | {"Cookie": cookie, "Host": "localhost"}

    def load() -> None:
        connection.request("GET", page.address, headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status in page.statuses, (response.status, page)

    wall, _processor = time_calls(load, turns)
    connection.close()
    return {"http50": get_percentile(wall, 0.5), "http95": get_percentile(wall, 0.95)}


def time_calls(call: Callable[[], None], turns: int) -> tuple[list[float], list[float]]:
    """Return wall and CPU milliseconds of each call of this process."""
    wall, processor = [], []
    for _turn in range(WARM_UP):
        call()
    for _turn in range(turns):
        began, spent = time.perf_counter(), time.process_time()
        call()
        wall.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - spent) * 1000)
    return wall, processor


@contextmanager
def web_server() -> Iterator[int]:
    """Run the web server with two processes."""
    from config.devstack.supervisor import web_command
    from tests.load.relay.stack import is_listening
    from tests.processes import eventually, free_port

    port = free_port()
    command = web_command(host="127.0.0.1", port=port, processes=2)
    process = subprocess.Popen([sys.executable, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: is_listening(port), seconds=90)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def print_profile(client: Any, page: Page, *, turns: int) -> None:
    import cProfile
    import pstats

    with cProfile.Profile() as profiler:
        for _turn in range(turns):
            client.get(page.address, headers=page.headers)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)


def measure_size(size: str, *options: str) -> dict[str, dict[str, Any]]:
    """Measure one size in its own process, because Django is set up for one database."""
    folder = size if not size.isdigit() else tempfile.mkdtemp(prefix="okno-desk-")
    try:
        if size.isdigit():
            environment = os.environ | {"DATA_DIR": folder, "DEMO": "0"}
            command = [sys.executable, "manage.py", "generate_demo_data", "--size", size]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        inner = [sys.executable, "-m", "tests.load.bench_desk", "--measure", *options, folder]
        found = subprocess.run(inner, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(json.loads(found.strip().splitlines()[-1]))
    finally:
        if size.isdigit():
            shutil.rmtree(folder, ignore_errors=True)


def format_cell(page: str, figures: dict[str, Any]) -> str:
    mark = " !" if figures["p95"] > TARGET and page.startswith(TARGET_PAGES) else ""
    over_http = f"; {figures['http50']:.0f} / {figures['http95']:.0f}" if "http50" in figures else ""
    return (
        f"{figures['queries']:.0f}; {figures['p50']:.0f} / {figures['p95']:.0f}{mark}; "
        f"{figures['cpu']:.0f} + {figures['database']:.0f}{over_http}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["1000", "20000"], help="numbers of chats, or data folders")
    parser.add_argument("--only", default="", help="measure pages whose name begins with this")
    parser.add_argument("--profile", default="", help="print where this page spends its time")
    parser.add_argument("--turns", type=int, default=20, help="measured calls of each page")
    parser.add_argument("--no-http", action="store_true", help="measure in the process only")
    parser.add_argument("--slow", type=float, default=0, help="print the slowest statement of pages above these ms")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.sizes[0], given)))
        return
    print(f"load at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n", flush=True)
    options = ["--only", given.only, "--profile", given.profile, "--turns", str(given.turns)]
    options += ["--slow", str(given.slow)] + (["--no-http"] if given.no_http else [])
    results = [measure_size(size, *options) for size in given.sizes]
    print(f"| page | {' | '.join(given.sizes)} |\n|---|{'---|' * len(results)}")
    for page in results[-1]:
        print(f"| {page} | {' | '.join(format_cell(page, row[page]) for row in results if page in row)} |")
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
