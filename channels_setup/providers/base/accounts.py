"""Accounts as providers see them: settings, credentials and findings of an account check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise

from channels_setup.codecs.redaction import redact_fields

LazyText = str | Promise
Json = dict[str, Any]

# Kinds of ``AccountSetting``.
TEXT, URL, NUMBER, DECIMAL, SWITCH, CHOICE, SECRET = "text", "url", "number", "decimal", "switch", "choice", "secret"


@dataclass(frozen=True, kw_only=True)
class AccountSetting:
    """A setting that a provider needs for an account: a form field and a command-line option.

    A setting of kind SECRET is stored encrypted and never shown again.
    """

    name: str
    label: LazyText
    kind: str = TEXT
    help: LazyText = ""
    required: bool = False
    default: Any = ""
    choices: tuple[tuple[str, LazyText], ...] = ()
    generated: bool = False  # if left empty, the portal generates it and shows it once for the provider's own form
    required_group: str = ""  # of the settings with the same group at least one is required
    min_length: int = 0  # characters; for secrets that authenticate a caller and must not be guessable
    resolves: tuple[str, ...] = ()  # failure codes: a new value resumes a channel that was paused with one of them


@dataclass(frozen=True, kw_only=True)
class Account:
    """One API channel as its provider needs it. Secrets are in clear text here: never log, never ``repr``."""

    id: int
    name: str
    app_id: str
    redirect_url: str = ""
    send_json: bool = True
    send_utf8: bool = True
    send_multipart: bool = False  # multipart form instead of a URL-encoded one; only without ``send_json``
    secrets: tuple[str, ...] = field(default=(), repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    credentials: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)  # valid ones, newest first
    webhook_needs_key: bool = False  # webhook requests must carry one of ``secrets``
    number: str = ""  # the account's own phone number, digits only; empty until a check has read it
    calls_per_second: float | None = None  # limit that an admin set for all calls of the channel

    def credential(self, name: str) -> str:
        """Return the newest valid credential with this name, or an empty string."""
        return next(iter(self.credentials.get(name, ())), "")

    def all_secrets(self) -> Iterator[str]:
        """Yield every value that must never be shown or stored in clear text."""
        yield from self.secrets
        for values in self.credentials.values():
            yield from values


@dataclass(frozen=True, kw_only=True)
class AccountFinding:
    """One result of an account check, for an admin.

    ``level`` is ok, warning or error. ``facts`` are values by name to keep for the channel's page.
    """

    level: str
    sentence: LazyText
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        redact_fields(self, "sentence", "facts")
