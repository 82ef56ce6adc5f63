"""Every setting that comes from the environment, declared once: its name, kind, default and meaning.

`manage.py settings_page` writes docs/settings.md from this table. NAME_FILE in place of NAME reads the value
from a file (Docker secrets). A value that does not fit its kind stops the start with a sentence.
"""

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

REQUIRED = object()


def parse_bool(text: str) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    return words[text.lower()]


def parse_list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def parse_int_list(text: str) -> list[int]:
    return [int(word) for word in parse_list(text)]


def parse_networks(text: str) -> list[str]:
    return [str(ipaddress.ip_network(word)) for word in parse_list(text)]


KIND_LABELS: dict[Callable[[str], Any], str] = {
    str: "text",
    int: "number",
    parse_bool: "yes or no",
    parse_list: "list, by commas",
    parse_int_list: "list of numbers, by commas",
    parse_networks: "list of networks, by commas",
}


@dataclass(frozen=True)
class EnvironmentSetting:
    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str


SETTINGS = (
    EnvironmentSetting("SECRET_KEY", str, REQUIRED, "Signs sessions and one-time links; at least 50 characters."),
    EnvironmentSetting(
        "FIELD_KEYS",
        parse_list,
        REQUIRED,
        "Fernet keys for the secrets in the database. The first encrypts, all decrypt: "
        "to rotate, put a new one in front.",
    ),
    EnvironmentSetting(
        "DATABASE_URL",
        str,
        REQUIRED,
        "postgres://user:password@host:5432/name. Without it an embedded server is started.",
    ),
    EnvironmentSetting(
        "REDIS_URL",
        str,
        REQUIRED,
        "redis://:password@host:6379/0, noeviction. Without it an embedded server is started.",
    ),
    EnvironmentSetting("DATA_DIR", str, "var", "The data folder: embedded servers, received files, generated secrets."),
    EnvironmentSetting("HOST", str, "127.0.0.1", "The address `make up` listens on."),
    EnvironmentSetting("PORT", int, 8000, "The port `make up` listens on."),
    EnvironmentSetting(
        "PUBLIC_URL",
        str,
        "",
        "The portal's address for the outside, https://… in production. Empty: http://127.0.0.1:PORT.",
    ),
    EnvironmentSetting(
        "ALLOWED_HOSTS",
        parse_list,
        [],
        "Host names to answer to, besides the one in PUBLIC_URL and, without https, this machine's.",
    ),
    EnvironmentSetting(
        "BEHIND_PROXY",
        parse_bool,
        False,
        "A proxy stands in front and sets X-Forwarded-Proto and X-Forwarded-For.",
    ),
    EnvironmentSetting("DEBUG", parse_bool, False, "Django's error pages. Never where others can reach the portal."),
    EnvironmentSetting("DEMO", parse_bool, True, "Load the demo at the first start of `make up`."),
    EnvironmentSetting("DEMO_ADMIN_PASSWORD", str, "", "The demo administrator's password. Empty: generated."),
    EnvironmentSetting("DEMO_OPERATOR_PASSWORD", str, "", "The demo operator's password. Empty: generated."),
    EnvironmentSetting("COMPANY_ID", int, 1, "The company id that goes out with every event."),
    EnvironmentSetting(
        "RELAY_ALLOWED_PRIVATE_CIDRS",
        parse_networks,
        [],
        "Private networks that a Redirect URL may point to, plain http and any port included. "
        "`make up` allows 127.0.0.0/8.",
    ),
    EnvironmentSetting(
        "RELAY_ALLOWED_PORTS", parse_int_list, [80, 443, 8080, 8443], "Ports that a Redirect URL may name."
    ),
    EnvironmentSetting(
        "HELD_REPLY_DAYS", int, 7, "How long a held reply waits for the client to write before it is dropped."
    ),
    EnvironmentSetting(
        "WINDOW_WARNING_MINUTES",
        parse_int_list,
        [240, 60, 15],
        "How long before a window closes operators are warned of a client's unanswered words. 0: never.",
    ),
    EnvironmentSetting(
        "RECONCILE_HOURS",
        int,
        6,
        "How long a message may wait to go out, or be sent without a status, before it is shown as a mismatch.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_MB", int, 25, "The largest file that an operator may give to a client, in megabytes."
    ),
    EnvironmentSetting(
        "CLIENT_FILE_LIMIT_MB",
        int,
        100,
        "The largest file of a client that is fetched from the provider, in megabytes.",
    ),
    EnvironmentSetting(
        "UPLOAD_OPERATOR_DAY_MB",
        int,
        1000,
        "Megabytes of files that one operator may give to clients in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "UPLOAD_CHAT_DAY_MB",
        int,
        500,
        "Megabytes of files that operators may give in a chat in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "DISK_FLOOR_MB",
        int,
        1024,
        "Megabytes that stay free on the disk of DATA_DIR: below that no files are taken or fetched, "
        "and `/health/ready` is red. 0: no floor.",
    ),
    EnvironmentSetting(
        "API_CALLS_PER_MINUTE",
        int,
        12000,
        "Calls of `/uapi` and `/api/v1` that one key may make in a minute to each web process; more get 429. "
        "0: no limit.",
    ),
    EnvironmentSetting("FILE_LINK_DAYS", int, 14, "How long the link to a file that an operator gave works."),
    EnvironmentSetting("EVENT_RETENTION_DAYS", int, 30, "How long processed raw events and attempts are kept."),
    EnvironmentSetting("LANGUAGE", str, "ru", "The language where a browser asks for neither ru nor en."),
    EnvironmentSetting("TIME_ZONE", str, "Europe/Moscow", "The time zone of the pages."),
    EnvironmentSetting("WEB_PROCESSES", int, 2, "Web processes."),
    EnvironmentSetting(
        "WEB_THREADS", int, 4, "Requests that each web process works on at once, each with a database connection."
    ),
    EnvironmentSetting("WORKERS", int, 1, "Celery workers that `make up` starts."),
    EnvironmentSetting("WORKER_CONCURRENCY", int, 4, "Processes in each Celery worker."),
    EnvironmentSetting("LOG_LEVEL", str, "INFO", "DEBUG, INFO, WARNING or ERROR."),
    EnvironmentSetting("LOG_FORMAT", str, "text", "text or json."),
)
SETTINGS_BY_NAME = {setting.name: setting for setting in SETTINGS}


def read_setting(name: str) -> Any:
    """The setting's value from NAME, from the file in NAME_FILE, or its default."""
    setting = SETTINGS_BY_NAME[name]
    text = os.environ.get(name, "")
    if not text and (path := os.environ.get(f"{name}_FILE")):
        text = Path(path).read_text().strip()
    if not text:
        if setting.default is REQUIRED:
            raise ImproperlyConfigured(f"Set {name} in the environment. {setting.help}")
        return setting.default
    try:
        return setting.kind(text)
    except (ValueError, KeyError) as error:
        shown = "" if setting.default is REQUIRED else f" and not {text!r}"
        raise ImproperlyConfigured(f"{name} must be a {KIND_LABELS[setting.kind]}{shown}.") from error
