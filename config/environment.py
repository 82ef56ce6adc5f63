"""All settings that are read from the environment: name, kind, default and meaning.

`manage.py settings_page` writes docs/settings.md from this table. NAME_FILE instead of NAME reads the value from a
file (Docker secrets). An invalid value stops the start with an error message.
"""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.account_environment import ACCOUNT_SETTINGS
from config.monitoring_environment import MONITORING_SETTINGS
from config.setting_kinds import (
    LABELS,
    REQUIRED,
    EnvironmentSetting,
    choice,
    not_negative,
    parse_alert_routes,
    parse_bool,
    parse_database_url,
    parse_email_url,
    parse_field_keys,
    parse_language,
    parse_list,
    parse_networks,
    parse_origin,
    parse_redis_url,
    parse_secret_key,
    parse_time_zone,
    parse_url,
    positive,
    whole_number,
    whole_numbers,
)

SETTINGS = (
    EnvironmentSetting(
        "SECRET_KEY",
        parse_secret_key,
        REQUIRED,
        "Signs sessions and one-time links; at least 50 characters.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "FIELD_KEYS",
        parse_field_keys,
        REQUIRED,
        "Fernet keys for the secrets in the database. The first key encrypts, all keys decrypt. "
        "To rotate, insert a new key at the front.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "DATABASE_URL",
        parse_database_url,
        REQUIRED,
        "postgres://user:password@host:5432/name. If it is missing, a local server is started.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "REDIS_URL",
        parse_redis_url,
        REQUIRED,
        "redis://:password@host:6379/0, policy noeviction. If it is missing, a local server is started.",
        is_secret=True,
    ),
    EnvironmentSetting("DATA_DIR", str, "var", "The data folder: local servers, received files, generated secrets."),
    EnvironmentSetting(
        "MEDIA_S3_BUCKET",
        str,
        "",
        "Private bucket of an S3-compatible storage for the files of clients and operators. Empty: DATA_DIR/media.",
    ),
    EnvironmentSetting(
        "MEDIA_S3_ENDPOINT_URL", parse_url, "", "Its address, for example https://s3.company.example. Empty: Amazon S3."
    ),
    EnvironmentSetting("MEDIA_S3_REGION", str, "", "Its region, for example eu-central-1, if it has any."),
    EnvironmentSetting(
        "MEDIA_S3_ACCESS_KEY_ID",
        str,
        "",
        "ID of its access key. Empty: the role of the machine, on Amazon.",
        is_secret=True,
    ),
    EnvironmentSetting("MEDIA_S3_SECRET_ACCESS_KEY", str, "", "The access key's secret.", is_secret=True),
    EnvironmentSetting("MEDIA_S3_PREFIX", str, "", "Folder in the bucket, for example okno/. Empty: the whole bucket."),
    EnvironmentSetting(
        "ERASURE_LOG",
        str,
        "",
        "File with the log of erased people, outside the database and its dumps. Empty: DATA_DIR/erasures.jsonl.",
    ),
    EnvironmentSetting("BACKUP_DIR", str, "", "Folder for the backups of `manage.py backup`. Empty: DATA_DIR/backups."),
    EnvironmentSetting(
        "BACKUP_MAX_AGE_HOURS",
        not_negative,
        48,
        "Hours after which the newest backup counts as too old, if there was ever one. 0: never.",
    ),
    EnvironmentSetting("HOST", str, "127.0.0.1", "The address `make up` listens on."),
    EnvironmentSetting("PORT", whole_number(1, 65535), 8000, "The port `make up` listens on."),
    EnvironmentSetting(
        "PUBLIC_URL",
        parse_origin,
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
        not_negative,
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
    EnvironmentSetting(
        "DEMO_ADMIN_PASSWORD", str, "", "The demo administrator's password. Empty: generated.", is_secret=True
    ),
    EnvironmentSetting(
        "DEMO_OPERATOR_PASSWORD", str, "", "The demo operator's password. Empty: generated.", is_secret=True
    ),
    *ACCOUNT_SETTINGS,
    EnvironmentSetting(
        "EMAIL_URL",
        parse_email_url,
        "",
        "SMTP server, for example smtp+tls://user:password@mail.example:587. Empty: no emails are sent; "
        "one-time links are shown to admins instead.",
        is_secret=True,
    ),
    EnvironmentSetting("EMAIL_FROM", str, "", "Sender of emails, for example Okno <okno@company.example>."),
    EnvironmentSetting(
        "ALERT_ROUTES",
        parse_alert_routes,
        [],
        "Alert routes besides those in the admin, separated by spaces, for example mailto:ops@company.example. "
        "docs/alerts.md lists the forms.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "ALERT_TELEGRAM_URL", parse_url, "https://api.telegram.org", "Bot API of Telegram, or of a server of your own."
    ),
    EnvironmentSetting("COMPANY_ID", positive, 1, "Company ID that is sent with every event."),
    EnvironmentSetting(
        "RELAY_ALLOWED_PRIVATE_CIDRS",
        parse_networks,
        [],
        "Private networks that a Redirect URL may point to, also with plain http and any port. "
        "`make up` allows 127.0.0.0/8.",
    ),
    EnvironmentSetting(
        "RELAY_ALLOWED_PORTS", whole_numbers(1, 65535), [80, 443, 8080, 8443], "Ports that a Redirect URL may use."
    ),
    EnvironmentSetting(
        "WEB_PUSH_HOSTS",
        parse_list,
        [
            *("fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com"),
            *("*.notify.windows.com", "*.wns.windows.com"),
        ],
        "Push services of browsers that may be called for notifications of operators. Empty: no push messages.",
    ),
    EnvironmentSetting(
        "HELD_REPLY_DAYS", positive, 7, "Days after which a held reply is dropped if the client has not written."
    ),
    EnvironmentSetting(
        "CLOSING_REMINDER_MINUTES",
        whole_numbers(0),
        [240, 60, 15],
        "Minutes before a window closes at which operators are reminded of an unanswered client. 0: never.",
    ),
    EnvironmentSetting(
        "MISMATCH_AFTER_HOURS",
        positive,
        6,
        "Hours after which an unsent message, or a sent one without a status, is shown as a mismatch.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_MB", not_negative, 25, "Largest file that an operator may send to a client, in megabytes."
    ),
    EnvironmentSetting(
        "CLIENT_FILE_LIMIT_MB",
        positive,
        100,
        "Largest client file that is downloaded from the provider, in megabytes.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_PER_OPERATOR_DAY_MB",
        not_negative,
        1000,
        "Megabytes of files that one operator may send in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "UPLOAD_LIMIT_PER_CHAT_DAY_MB",
        not_negative,
        500,
        "Megabytes of files that operators may send in one chat in 24 hours. 0: no limit.",
    ),
    EnvironmentSetting(
        "MIN_FREE_DISK_MB",
        not_negative,
        1024,
        "Free megabytes on the disk of DATA_DIR below which no files are accepted or downloaded "
        "and `/health/ready` is red. 0: no limit.",
    ),
    EnvironmentSetting(
        "API_CALLS_PER_MINUTE",
        not_negative,
        12000,
        "Calls of `/uapi` and `/api/v1` per key, minute and web process. Further calls get status 429. 0: no limit.",
    ),
    EnvironmentSetting("FILE_LINK_DAYS", positive, 14, "Days after which the link to an operator's file expires."),
    EnvironmentSetting(
        "EVENT_RETENTION_DAYS",
        not_negative,
        None,
        "Days after which processed raw requests, attempts, working records and the sign-in log are deleted. If set, "
        "the admin's page of retention rules cannot change them. 0: no limit.",
    ),
    EnvironmentSetting(
        "MESSAGE_RETENTION_DAYS",
        not_negative,
        None,
        "Days after which messages lose their text and files. If set, the admin's page of retention rules cannot "
        "change them. 0: no limit. API channels may have their own.",
    ),
    EnvironmentSetting(
        "FILE_RETENTION_DAYS",
        not_negative,
        None,
        "Days after which files of messages are deleted. If set, the admin's page of retention rules cannot change "
        "them. 0: as long as the message. API channels may have their own.",
    ),
    EnvironmentSetting("LANGUAGE", parse_language, "ru", "Language for browsers that request neither ru nor en."),
    EnvironmentSetting("TIME_ZONE", parse_time_zone, "Europe/Moscow", "Time zone of the pages."),
    EnvironmentSetting("WEB_PROCESSES", positive, 2, "Number of web processes."),
    EnvironmentSetting(
        "WEB_THREADS",
        positive,
        4,
        "Requests that each web process handles at once, each with a database connection.",
    ),
    EnvironmentSetting("WORKERS", positive, 1, "Number of Celery workers that `make up` starts."),
    EnvironmentSetting(
        "WORKER_CONCURRENCY",
        positive,
        4,
        "Processes in each Celery worker. At least 3, or each wake-up starts a task.",
    ),
    *MONITORING_SETTINGS,
    EnvironmentSetting(
        "LOG_LEVEL", choice("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "DEBUG, INFO, WARNING or ERROR."
    ),
    EnvironmentSetting("LOG_FORMAT", choice("text", "json"), "text", "text or json."),
)
SETTINGS_BY_NAME = {setting.name: setting for setting in SETTINGS}


def read_setting(name: str) -> Any:
    """Return the value of NAME, of the file NAME_FILE, or the default. Raises ImproperlyConfigured."""
    setting = SETTINGS_BY_NAME[name]
    text = _read_text(name)
    if not text:
        if setting.default is REQUIRED:
            raise ImproperlyConfigured(f"Set {name} in the environment. {setting.help}")
        return setting.default
    try:
        return setting.kind(text)
    except ValueError as error:
        shown = "" if setting.is_secret else f", got {text!r}"
        raise ImproperlyConfigured(f"Invalid {name}: expected {LABELS[setting.kind]}{shown}.") from error


def _read_text(name: str) -> str:
    text = os.environ.get(name, "")
    if text or not (path := os.environ.get(f"{name}_FILE")):
        return text
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ImproperlyConfigured(f"{name}_FILE: {path} cannot be read ({cause}).") from error
