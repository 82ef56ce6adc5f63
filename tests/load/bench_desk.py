"""Benchmark of the desk's pages at several sizes: CPU time, wall time and number of database queries.

    python -m tests.load.bench_desk 1000 100000       sizes in chats; each data set is generated (20 min per million)
    python -m tests.load.bench_desk 1000 /tmp/okno    or a DATA_DIR filled by `make demo-data`

Each size is measured in its own process, through Django's handler with all middleware and without the network. The last
column is the wall time at the first size divided by the wall time at the last size.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

TURNS = 15
FIGURE = "≤ 50 ms"  # of the chat list and of one chat


def measure(folder: str, *, profile: str = "") -> dict[str, list[float]]:
    """Return for each page the median wall and CPU milliseconds, and the number of queries."""
    os.environ |= {"DATA_DIR": folder, "DEMO": "0", "DEBUG": "no", "DJANGO_SETTINGS_MODULE": "config.settings"}
    from config.devstack import environment_setup

    environment_setup.prepare_environment(["manage.py", "shell"])
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    from bridge.models import Conversation, Message

    operator = get_user_model()._default_manager.get(username="operator1")
    newest = Conversation.objects.filter(last_direction="inbound").order_by("-last_message_at")
    busy, oldest = newest[3], Conversation.objects.order_by("last_message_at").first()
    assert oldest is not None
    message = Message.objects.filter(conversation=busy).order_by("pk").first()
    assert message is not None
    listed, one = reverse("chats"), reverse("chat", args=[busy.pk])
    oldest_page = f"{listed}?sort=newest&after=newest~{oldest.last_message_at.isoformat().replace('+', '%2B')}~9"
    part: dict[str, Any] = {"HTTP_HX_REQUEST": "true"}
    pages: dict[str, tuple[str, dict[str, Any]]] = {
        "the list": (listed, part | {"HTTP_HX_TARGET": "list"}),
        "the list, waiting for us": (f"{listed}?tab=waiting", part | {"HTTP_HX_TARGET": "list"}),
        "the list, one status": (f"{listed}?status=2&sort=newest", part | {"HTTP_HX_TARGET": "list"}),
        "the list, its last page": (oldest_page, part | {"HTTP_HX_TARGET": "list"}),
        "search by name": (f"{listed}?q=Соколова", part | {"HTTP_HX_TARGET": "list"}),
        "search by words": (f"{listed}?q=сертификаты", part | {"HTTP_HX_TARGET": "list"}),
        "one chat: thread, client, composer": (one, part | {"HTTP_HX_TARGET": "chat"}),
        "one chat at an old message": (f"{one}?at={message.pk}", part | {"HTTP_HX_TARGET": "chat"}),
        "both on one page": (one, {}),
        "requests": (reverse("requests"), {}),
    }
    client = Client(SERVER_NAME="localhost")
    client.force_login(operator)
    result = {name: _page(client, *page) for name, page in pages.items()}
    if profile:
        import cProfile
        import pstats

        address, headers = pages[profile]
        with cProfile.Profile() as profiler:
            for _turn in range(TURNS):
                client.get(address, **headers)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    if environment_setup.servers:
        environment_setup.servers.release()
    return result


def _page(client: Any, address: str, headers: dict[str, Any]) -> list[float]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for _turn in range(3):
        assert client.get(address, **headers).status_code == 200, address
    clock, processor = [], []
    for _turn in range(TURNS):
        began, spent = time.perf_counter(), time.process_time()
        client.get(address, **headers)
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - spent) * 1000)
    with CaptureQueriesContext(connection) as queries:
        client.get(address, **headers)
    return [statistics.median(clock), statistics.median(processor), len(queries)]


def measure_size(size: str) -> dict[str, list[float]]:
    """Measure one size in its own process, because Django is set up for one database."""
    folder = size if not size.isdigit() else tempfile.mkdtemp(prefix="okno-desk-")
    try:
        if size.isdigit():
            environment = os.environ | {"DATA_DIR": folder, "DEMO": "0"}
            command = [sys.executable, "manage.py", "generate_demo_data", "--size", size]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        inner = [sys.executable, "-m", "tests.load.bench_desk", "--measure", folder]
        found = subprocess.run(inner, check=True, stdout=subprocess.PIPE, text=True).stdout
        return dict(json.loads(found.strip().splitlines()[-1]))
    finally:
        if size.isdigit():
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    sizes = sys.argv[1:] or ["1000", "20000"]
    if sizes[0] == "--measure":
        print(json.dumps(measure(sizes[1], profile=sizes[2] if len(sizes) > 2 else "")))
        return
    print(f"load at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; wall / CPU ms, queries\n")
    results = [measure_size(size) for size in sizes]
    print(f"| page | {' | '.join(sizes)} | speed left |\n|---|{'---|' * (len(sizes) + 1)}")
    for page, first in results[0].items():
        cells = " | ".join(f"{row[page][0]:.0f} / {row[page][1]:.0f}, {row[page][2]:.0f}" for row in results)
        figure = f" ({FIGURE})" if page.startswith(("the list", "one chat")) else ""
        print(f"| {page}{figure} | {cells} | {first[0] / results[-1][page][0]:.2f} |")


if __name__ == "__main__":
    main()
