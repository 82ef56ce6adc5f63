"""All settings that are read from the environment: name, kind, default and meaning.

`manage.py settings_page` writes docs/settings.md from this table. NAME_FILE instead of NAME reads the value from a
file (Docker secrets). An invalid value stops the start with an error message.
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
    parse_list: "comma-separated list",
    parse_int_list: "comma-separated list of numbers",
    parse_networks: "comma-separated list of networks",
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
        "Fernet keys for the secrets in the database. The first key encrypts, all keys decrypt. "
        "To rotate, insert a new key at the front.",
    ),
    EnvironmentSetting(
        "DATABASE_URL",
        str,
        REQUIRED,
        "postgres://user:password@host:5432/name. If it is missing, a local server is started.",
    ),
    EnvironmentSetting(
        "REDIS_URL",
        str,
        REQUIRED,
        "redis://:password@host:6379/0, policy noeviction. If it is missing, a local server is started.",
    ),
    EnvironmentSetting("DATA_DIR", str, "var", "The data folder: local servers, received files, generated secrets."),
    EnvironmentSetting(
        "ERASURE_LOG",
        str,
        "",
        "File with the log of erased people, outside the database and its dumps. Empty: DATA_DIR/erasures.jsonl.",
    ),
    EnvironmentSetting("BACKUP_DIR", str, "", "Folder for the backups of `manage.py backup`. Empty: DATA_DIR/backups."),
    EnvironmentSetting(
        "BACKUP_MAX_AGE_HOURS",
        int,
        48,
        "Hours after which the newest backup counts as too old, if there was ever one. 0: never.",
    ),
    EnvironmentSetting("HOST", str, "127.0.0.1", "The address `make up` listens on."),
    EnvironmentSetting("PORT", int, 8000, "The port `make up` listens on."),
    EnvironmentSetting(
        "PUBLIC_URL",
        str,
        "",
        "Public URL of the portal, https://… in production. Empty: http://127.0.0.1:PORT.",
    ),
    EnvironmentSetting(
        "ALLOWED_HOSTS",
        parse_list,
        [],
        "Accepted host names, besides the one in PUBLIC_URL and, without https, those of this machine.",
    ),
    EnvironmentSetting(
        "BEHIND_PROXY",
        parse_bool,
        False,
        "A proxy in front of the portal sets X-Forwarded-Proto and X-Forwarded-For.",
    ),
    EnvironmentSetting(
        "HSTS_SECONDS",
        int,
        31536000,
        "Seconds for which browsers that have opened the portal refuse plain http to its host, if PUBLIC_URL is https. "
        "0: never.",
    ),
    EnvironmentSetting(
        "HSTS_SUBDOMAINS", parse_bool, False, "The same for all subdomains of the host. They must all have https."
    ),
    EnvironmentSetting(
        "HSTS_PRELOAD",
        parse_bool,
        False,
        "Consent to the list of https-only hosts that browsers ship. It takes months to leave that list.",
    ),
    EnvironmentSetting(
        "STATIC_ROOT",
        str,
        "",
        "Folder of the static files that `manage.py collectstatic` collects and compresses; browsers keep them for "
        "years. Empty: the files are served from their source folders.",
    ),
    EnvironmentSetting(
        "DEBUG", parse_bool, False, "Show Django's error pages. Never use it where others can reach the portal."
    ),
    EnvironmentSetting("DEMO", parse_bool, True, "Load the demo at the first start of `make up`."),
    EnvironmentSetting("DEMO_ADMIN_PASSWORD", str, "", "The demo administrator's password. Empty: generated."),
    EnvironmentSetting("DEMO_OPERATOR_PASSWORD", str, "", "The demo operator's password. Empty: generated."),
    EnvironmentSetting(
        "SECOND_FACTOR_ROLES",
        parse_list,
        None,
        "Roles that need a second factor: admin, supervisor, operator, auditor, or none. "
        "Default: admin if PUBLIC_URL is https, else none.",
    ),
    EnvironmentSetting(
        "OWN_TOKEN_ROLES",
        parse_list,
        ["admin", "supervisor", "operator"],
        "Roles whose users may create API tokens of their own, or none.",
    ),
    EnvironmentSetting("OWN_TOKEN_MAX_DAYS", int, 365, "Longest validity of a user's own API token, in days."),
    EnvironmentSetting("SESSION_IDLE_HOURS", int, 12, "A browser without any use for so long must sign in again."),
    EnvironmentSetting(
        "EMAIL_URL",
        str,
        "",
        "SMTP server, for example smtp+tls://user:password@mail.example:587. Empty: no emails are sent; "
        "one-time links are shown to admins instead.",
    ),
    EnvironmentSetting("EMAIL_FROM", str, "", "Sender of emails, for example Okno <okno@company.example>."),
    EnvironmentSetting(
        "OIDC_SERVER_URL", str, "", "Single sign-on: the OpenID Connect issuer, for example https://id.company.example."
    ),
    EnvironmentSetting("OIDC_CLIENT_ID", str, "", "Single sign-on: the client ID of this portal."),
    EnvironmentSetting("OIDC_CLIENT_SECRET", str, "", "Single sign-on: the client secret."),
    EnvironmentSetting("OIDC_NAME", str, "Single sign-on", "Single sign-on: the label of its button."),
    EnvironmentSetting("OIDC_GROUPS_CLAIM", str, "groups", "Single sign-on: the claim that lists a user's groups."),
    EnvironmentSetting(
        "OIDC_GROUP_ROLES",
        parse_list,
        [],
        "Single sign-on: role by group, as group=role, for example okno-admins=admin,support=operator. Roles: admin, "
        "supervisor, operator, auditor; the first of them wins. Users in none of these groups are refused.",
    ),
    EnvironmentSetting("COMPANY_ID", int, 1, "Company ID that is sent with every event."),
    EnvironmentSetting(
        "RELAY_ALLOWED_PRIVATE_CIDRS",
        parse_networks,
        [],
        "Private networks that a Redirect URL may point to, also with plain http and any port. "
        "`make up` allows 127.0.0.0/8.",
    ),
    EnvironmentSetting(
        "RELAY_ALLOWED_PORTS", parse_int_list, [80, 443, 8080, 8443], "Ports that a Redirect URL may use."
    ),
    EnvironmentSetting(
        "HELD_REPLY_DAYS", int, 7, "Days after which a held reply is dropped if the client has not written."
    ),
    EnvironmentSetting(
        "CLOSING_REMINDER_MINUTES",
        parse_int_list,
        [240, 60, 15],
        "Minutes before a window closes at which operators are reminded of an unanswered client. 0: never.",
    ),
    EnvironmentSetting(
        "MISMATCH_AFTER_HOURS",
        int,
        6,
        "Hours after which an unsent message, or a sent one without a status, is shown as a mismatch.",
    ),
    EnvironmentSetting("UPLOAD_LIMIT_MB", int, 25, "Largest file that an operator may send to a client, in megabytes."),
    EnvironmentSetting(
        "CLIENT_FILE_LIMIT_MB",
        int,
        100,
        "Largest client file that is downloaded from the provider, in megabytes.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_PER_OPERATOR_DAY_MB",
        int,
        1000,
        "Megabytes of files that one operator may send in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_PER_CHAT_DAY_MB",
        int,
        500,
        "Megabytes of files that operators may send in one chat in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "MIN_FREE_DISK_MB",
        int,
        1024,
        "Free megabytes on the disk of DATA_DIR below which no files are accepted or downloaded "
        "and `/health/ready` is red. 0: no limit.",
    ),
    EnvironmentSetting(
        "API_CALLS_PER_MINUTE",
        int,
        12000,
        "Calls of `/uapi` and `/api/v1` per key, minute and web process. Further calls get status 429. 0: no limit.",
    ),
    EnvironmentSetting("FILE_LINK_DAYS", int, 14, "Days after which the link to an operator's file expires."),
    EnvironmentSetting(
        "EVENT_RETENTION_DAYS",
        int,
        30,
        "Days after which processed webhook events and attempts are deleted. API channels may have their own limit for "
        "webhook events.",
    ),
    EnvironmentSetting(
        "MESSAGE_RETENTION_DAYS",
        int,
        0,
        "Days after which messages lose their text and files. 0: no limit. API channels may have their own.",
    ),
    EnvironmentSetting(
        "FILE_RETENTION_DAYS",
        int,
        0,
        "Days after which files of messages are deleted. 0: as long as the message. API channels may have their own.",
    ),
    EnvironmentSetting("LANGUAGE", str, "ru", "Language for browsers that request neither ru nor en."),
    EnvironmentSetting("TIME_ZONE", str, "Europe/Moscow", "Time zone of the pages."),
    EnvironmentSetting("WEB_PROCESSES", int, 2, "Number of web processes."),
    EnvironmentSetting(
        "WEB_THREADS", int, 4, "Requests that each web process handles at once, each with a database connection."
    ),
    EnvironmentSetting("WORKERS", int, 1, "Number of Celery workers that `make up` starts."),
    EnvironmentSetting(
        "WORKER_CONCURRENCY",
        int,
        4,
        "Processes in each Celery worker. At least 3, or each wake-up starts a task.",
    ),
    EnvironmentSetting("LOG_LEVEL", str, "INFO", "DEBUG, INFO, WARNING or ERROR."),
    EnvironmentSetting("LOG_FORMAT", str, "text", "text or json."),
)
SETTINGS_BY_NAME = {setting.name: setting for setting in SETTINGS}


def read_setting(name: str) -> Any:
    """Return the value of NAME, of the file NAME_FILE, or the default. Raises ImproperlyConfigured."""
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
        shown = "" if setting.default is REQUIRED else f", got {text!r}"  # required settings are secrets
        raise ImproperlyConfigured(f"Invalid {name}: expected {KIND_LABELS[setting.kind]}{shown}.") from error
