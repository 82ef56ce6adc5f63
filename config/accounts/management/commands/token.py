"""Manage API tokens from the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from channels_setup import encryption
from config.accounts.management.lookups import find_chat_channel
from config.accounts.models import ApiToken, Scope
from config.accounts.models.api_tokens import TOKEN_PREFIX

MAX_DAYS = 3650


class Command(BaseCommand):
    help = "Create, list and revoke API tokens. A program with a token may never do more than its user."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="Create a token and print it. It is shown only once.")
        create.add_argument("user", help="User name or service account that owns the token.")
        create.add_argument("--name", default="API", help="What the token is for, as lists show it.")
        create.add_argument(
            "--days", type=int, help="Days until the token expires. Without it the token does not expire."
        )
        create.add_argument("--scope", choices=Scope.values, default=Scope.WRITE, help="What the token may do.")
        create.add_argument(
            "--chat-channel",
            action="append",
            default=[],
            help="Number or name of a chat channel. With any, the token sees only these channels.",
        )
        show = actions.add_parser("list", help="List tokens, newest first; never their text.")
        show.add_argument("user", nargs="?", help="List only the tokens of this user.")
        show.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")
        revoke = actions.add_parser("revoke", help="Revoke tokens permanently.")
        revoke.add_argument(
            "which", nargs="?", help="The token's number or beginning as listed, or a user for all of theirs."
        )
        revoke.add_argument("--user", help="With --all: revoke all tokens of this user or service account.")
        revoke.add_argument("--all", action="store_true", help="Revoke every token of --user.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, f"do_{action}")(options)

    def do_create(self, options: dict[str, Any]) -> None:
        user = self._user(options["user"])
        if not user.is_active:
            raise CommandError(f"The user “{user.get_username()}” is deactivated.")
        name, days = options["name"].strip(), options["days"]
        if not name.isprintable() or not 0 < len(name) <= 100:
            raise CommandError("The name must have 1 to 100 printable characters.")
        if days is not None and not 0 < days <= MAX_DAYS:
            raise CommandError(f"--days must be from 1 to {MAX_DAYS}.")
        chat_channels = [find_chat_channel(text) for text in options["chat_channel"]]
        if options["scope"] == Scope.METRICS:
            if chat_channels:
                raise CommandError("A token for metrics opens no chats. Leave --chat-channel out.")
            if not (user.is_service or user.is_staff):
                raise CommandError("This user may not read metrics. Use a service account: manage.py service add NAME.")
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        self.stdout.write(
            ApiToken.issue(
                user,
                name=name,
                expires_at=expires_at,
                scope=Scope(options["scope"]),
                chat_channels=chat_channels or None,
            )[1]
        )

    def do_list(self, options: dict[str, Any]) -> None:
        rows = ApiToken.objects.select_related("user").prefetch_related("chat_channels")
        if options["user"]:
            rows = rows.filter(user=self._user(options["user"]))
        found = [token_row(token) for token in rows]
        if options["output"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            times = " ".join(f"{name}={row[name] or '-'}" for name in ("created", "last_used", "expires", "revoked"))
            facts = f"“{row['name']}” {describe_scope(row)} {row['state']} {times}"
            self.stdout.write(f"{row['id']:<6} {row['prefix']}… {row['user']} {facts}")

    def do_revoke(self, options: dict[str, Any]) -> None:
        which, name = options["which"], options["user"]
        if (which is None) == (name is None) or options["all"] != (name is not None):
            raise CommandError("Give a token's number or beginning, or --user NAME --all.")
        if name is not None:
            return self._revoke_all(self._user(name))
        token = find_token(which)
        if token is None:
            if user := get_user_model().objects.filter(username=which).first():
                return self._revoke_all(user)
            raise CommandError(f"There is no user and no token “{which}”. See: manage.py token list")
        if not ApiToken.objects.filter(pk=token.pk).revoke():
            raise CommandError(f"The token {token} is already revoked.")
        self.stdout.write(f"The token {token} is revoked.")

    def _revoke_all(self, user: Any) -> None:
        if not (number := ApiToken.objects.filter(user=user).revoke()):
            raise CommandError(f"“{user.get_username()}” has no token.")
        self.stdout.write(f"Tokens of “{user.get_username()}” revoked: {number}.")

    def _user(self, name: str) -> Any:
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user “{name}”.")
        return user


def find_token(which: str) -> ApiToken | None:
    """Return the token with this number or beginning, or None. Raises CommandError if several fit."""
    beginning = which.removesuffix("…")
    rows = ApiToken.objects.filter(digest=encryption.fingerprint(beginning))  # the whole token
    if not rows.exists() and beginning.startswith(TOKEN_PREFIX):
        rows = ApiToken.objects.filter(prefix__startswith=beginning)
    if not rows.exists() and which.isascii() and which.isdigit() and len(which) < 19:
        rows = ApiToken.objects.filter(pk=int(which))
    found = list(rows[:2])
    if len(found) > 1:
        raise CommandError(f"Several tokens begin with “{which}”: use the number. See: manage.py token list")
    return found[0] if found else None


def token_row(token: ApiToken) -> dict[str, Any]:
    """Return the fields of a token that may be shown."""
    times = {name: getattr(token, f"{name}_at") for name in ("created", "last_used", "expires", "revoked")}
    return {
        "id": token.pk,
        "prefix": token.prefix,
        "user": token.user.get_username(),
        "name": token.name,
        "scope": token.scope,
        "chat_channels": [channel.name for channel in token.chat_channels.all()]
        if token.is_limited_to_channels
        else None,
        "state": token.state,
        "last_used_address": token.last_used_address,
        **{name: time.isoformat(timespec="seconds") if time else None for name, time in times.items()},
    }


def describe_scope(row: dict[str, Any]) -> str:
    """Return a token's scope with its chat channels, for a line of the list."""
    if row["chat_channels"] is None:
        return str(row["scope"])
    return f"{row['scope']}, only {', '.join(row['chat_channels']) or 'deleted channels'}"
