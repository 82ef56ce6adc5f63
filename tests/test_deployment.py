"""Ways to run the portal in production: containers, systemd units, the Helm chart. All run the same commands.

None of these tools runs here, so the files are checked for what they say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from config.celery import QUEUES, SCHEDULE, app
from config.devstack import supervisor
from config.environment import SETTINGS
from config.serving import server as web_server
from config.setting_kinds import REQUIRED

PROJECT = settings.BASE_DIR
UNITS = PROJECT / "docs" / "deploy" / "systemd"
PARENT_MB = 130  # of web and Celery: docs/decisions.md, "Memory of the processes"
BACKUP = ["python", "manage.py", "backup", "--daily-at", "03:00", "--verify"]
BACKUP += ["--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "6"]


# --- containers -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    services: dict[str, Any] = compose["services"]
    return services


def test_each_container_runs_a_command_that_up_runs_too(services: dict[str, Any]) -> None:
    expected = {
        "web": supervisor.web_command(host="0.0.0.0", port=8000, processes=2),
        "worker-inbound": supervisor.worker_command(queues=("inbound",), concurrency=2, name="inbound"),
        "worker-outbound": supervisor.worker_command(queues=("outbound",), concurrency=2, name="outbound"),
        "worker-events": supervisor.worker_command(queues=("events",), concurrency=2, name="events"),
        "worker-housekeeping": supervisor.worker_command(queues=("housekeeping",), concurrency=2, name="housekeeping"),
        "beat": supervisor.beat_command(),
        "migrate": ["python", "manage.py", "migrate", "--noinput"],
        "backup": BACKUP,
    }

    ours = {name: service["command"] for name, service in services.items() if "okno" in service.get("image", "")}

    assert ours == expected
    assert json.dumps(expected["web"]) in (PROJECT / "Dockerfile").read_text()


def test_the_containers_workers_consume_every_queue(services: dict[str, Any]) -> None:
    commands = [service["command"] for name, service in services.items() if name.startswith("worker-")]

    consumed = {queue for command in commands for queue in command[command.index("--queues") + 1].split(",")}

    assert consumed == set(QUEUES) == {queue for queue, _ in SCHEDULE.values()}


def test_compose_has_two_webs_one_beat_health_checks_and_no_secrets(services: dict[str, Any]) -> None:
    text = (PROJECT / "docker-compose.yml").read_text()

    assert services["web"]["deploy"]["replicas"] == 2
    assert "deploy" not in services["beat"]
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"migrate"}
    for name in ("SECRET_KEY", "FIELD_KEYS", "POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert f"${{{name}:?" in text
        assert f"\n{name}=\n" in (PROJECT / ".env.example").read_text()
    assert "noeviction" in " ".join(services["redis"]["command"])


def test_every_container_is_limited_and_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5", "compress": "true"}, name
        assert {"mem_limit", "cpus", "pids_limit"} <= service.keys(), name
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_memory_limits_leave_room_for_processes_that_are_replaced(services: dict[str, Any]) -> None:
    """A process is replaced when it has kept too much memory. The limit of its container must not kill it first."""
    replaced_at = 2 * web_server.MAX_WORKER_MB, 2 * app.conf.worker_max_memory_per_child // 1000

    assert megabytes(services["web"]) > replaced_at[0] + PARENT_MB
    for queue in QUEUES:
        assert megabytes(services[f"worker-{queue}"]) > replaced_at[1] + PARENT_MB


def megabytes(service: dict[str, Any]) -> int:
    return int(service["mem_limit"].removesuffix("m"))


def test_the_image_has_no_compiler_no_root_and_collected_files() -> None:
    first, image = re.split(r"(?m)^FROM .*$", (PROJECT / "Dockerfile").read_text())[1:]

    assert "--require-hashes --only-binary :all:" in first and "collectstatic" in first
    assert not re.search(r"\bpip\b|gcc|build-essential|-dev\b", image)
    assert image.index("\nUSER okno\n") < image.index("\nHEALTHCHECK") < image.index("\nCMD")
    assert "STATIC_ROOT=/static" in image and "COPY --from=build /static /static" in image
    for label in ("title", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in image


def test_the_image_is_built_without_private_or_unneeded_files() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().split("\n")

    assert {".git", ".env", "var", ".venv", "docs", ".github"} <= set(ignored)


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="docker compose is not installed here",
)
def test_docker_compose_accepts_the_file() -> None:
    names = ("SECRET_KEY", "FIELD_KEYS", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "PUBLIC_URL")
    environment = os.environ | dict.fromkeys(names, "given")

    checked = subprocess.run(["docker", "compose", "config", "-q"], cwd=PROJECT, env=environment, capture_output=True)

    assert checked.returncode == 0, checked.stderr.decode()


# --- systemd -----------------------------------------------------------------------------------------------


def read_unit(name: str) -> dict[str, list[str]]:
    """Return the values of each key, of all sections."""
    values: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            values.setdefault(key, []).append(value)
    return values


def commands_of(unit: str) -> list[list[str]]:
    return [command.replace("/opt/okno/.venv/bin/", "").split() for command in read_unit(unit)["ExecStart"]]


def test_each_unit_runs_a_command_that_up_runs_too() -> None:
    worker = supervisor.worker_command(queues=("%i",), concurrency=2, name="%i")

    assert commands_of("okno-web.service") == [supervisor.web_command(host="127.0.0.1", port=8000, processes=2)]
    assert commands_of("okno-worker@.service") == [[word.replace("@%h", "@%%h") for word in worker]]
    assert commands_of("okno-beat.service") == [supervisor.beat_command()]
    assert commands_of("okno-migrate.service")[0] == ["python", "manage.py", "migrate", "--noinput"]
    assert commands_of("okno-migrate.service")[1][2] == "collectstatic"
    assert commands_of("okno-backup.service") == [[word for word in BACKUP if word not in ("--daily-at", "03:00")]]
    assert read_unit("okno-backup.timer")["OnCalendar"] == ["*-*-* 03:00"]


def test_the_target_starts_a_worker_for_every_queue_and_one_beat() -> None:
    wanted = " ".join(read_unit("okno.target")["Wants"]).split()

    assert set(wanted) == {f"okno-worker@{queue}.service" for queue in QUEUES} | {
        *("okno-web.service", "okno-beat.service", "okno-backup.timer")
    }


def test_a_failed_or_restarted_migration_stops_no_other_unit() -> None:
    units = [read_unit(path.name) for path in UNITS.iterdir() if path.suffix == ".service"]

    assert not any("Requires" in unit or "BindsTo" in unit for unit in units)
    assert sum("okno-migrate.service" in unit.get("Wants", []) for unit in units) == 3  # web, beat, workers
    assert read_unit("okno-migrate.service")["Restart"] == ["on-failure"]


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.service")))
def test_each_unit_is_hardened_and_limited(unit: str, services: dict[str, Any]) -> None:
    values = {key: found[0] for key, found in read_unit(unit).items()}
    container = {"worker@": "worker-inbound"}.get(kind := unit[5:-8], kind)

    assert values["User"] == "okno" and values["CapabilityBoundingSet"] == ""
    assert values["NoNewPrivileges"] == values["PrivateTmp"] == "yes" and values["ProtectSystem"] == "strict"
    assert values["RestrictAddressFamilies"] == "AF_INET AF_INET6 AF_UNIX"
    assert "/var/lib/okno" in values["ReadWritePaths"]
    assert values["MemoryMax"].lower() == services[container]["mem_limit"]


def test_the_example_environment_of_the_units_has_every_required_setting() -> None:
    lines = (UNITS / "okno.env.example").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}

    assert {setting.name for setting in SETTINGS if setting.default is REQUIRED} <= names
    assert names - {"PYTHONUNBUFFERED"} <= {setting.name for setting in SETTINGS}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for path in UNITS.iterdir():
        text = path.read_text().replace("/opt/okno/.venv/bin/python", sys.executable).replace("/opt/okno", str(PROJECT))
        (tmp_path / path.name).write_text(text)
    units = [str(path) for path in tmp_path.iterdir() if path.suffix in (".service", ".target", ".timer")]

    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)

    assert (checked.returncode, checked.stderr.strip()) == (0, "")


# --- Helm ---------------------------------------------------------------------------------------------------


def test_the_charts_commands_are_those_of_the_containers(services: dict[str, Any]) -> None:
    """Without Helm: the command lines of the templates, with their few values filled in."""
    folder = PROJECT / "docs" / "deploy" / "helm" / "okno"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    known = {".Values.web.processes": str(values["web"]["processes"])}
    known |= {"$.Values.workerConcurrency": str(values["workerConcurrency"]), "$queue": "inbound"}
    found = {}
    for path in (folder / "templates").glob("*.yaml"):
        for line in re.findall(r"^ +command: (\[\"python\".*\])$", path.read_text(), re.MULTILINE):
            if '"health"' not in line:
                found[path.stem] = json.loads(re.sub(r"\{\{ (\S+) \}\}", lambda match: known[match[1]], line))

    assert set(values["workers"]) == set(QUEUES)
    assert found == {
        "web": services["web"]["command"],
        "workers": services["worker-inbound"]["command"],
        "beat": services["beat"]["command"],
        "migrate": services["migrate"]["command"],
        "backup": [*BACKUP[:3], "/backups", "--verify", *BACKUP[6:]],
    }
