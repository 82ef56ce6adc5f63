"""Manage API tokens from the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.accounts.management.lookups import find_chat_channel
from config.accounts.models import ApiToken, Scope

MAX_DAYS = 3650


class Command(BaseCommand):
    help = "Create, list and revoke API tokens. A program with a token has the permissions of its user."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="Create a token and print it. It is shown only once.")
        create.add_argument("user", help="User name of the token's owner.")
        create.add_argument("--name", default="API", help="What the token is for, as lists show it.")
        create.add_argument(
            "--days", type=int, help="Days until the token expires. Without it the token does not expire."
        )
        create.add_argument("--scope", choices=Scope.values, default=Scope.WRITE)
        create.add_argument(
            "--chat-channel",
            action="append",
            default=[],
            help="Number or name of a chat channel. With any, the token sees only these channels.",
        )
        show = actions.add_parser("list", help="List tokens, newest first; never their text.")
        show.add_argument("user", nargs="?", help="List only the tokens of this user.")
        show.add_argument("--output", choices=["text", "json"], default="text")
        revoke = actions.add_parser("revoke", help="Revoke tokens permanently.")
        revoke.add_argument("which", help="The token's number or beginning as listed, or a user for all of theirs.")

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
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        self.stdout.write(
            ApiToken.issue(
                user,
                name=name,
                expires_at=expires_at,
                scope=Scope(options["scope"]),
                chat_channels=[find_chat_channel(text) for text in options["chat_channel"]],
            )[1]
        )

    def do_list(self, options: dict[str, Any]) -> None:
        rows = ApiToken.objects.select_related("user")
        if options["user"]:
            rows = rows.filter(user=self._user(options["user"]))
        found = [token_row(token) for token in rows]
        if options["output"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            times = " ".join(f"{name}={row[name] or '-'}" for name in ("created", "last_used", "expires", "revoked"))
            self.stdout.write(f"{row['id']:<6} {row['prefix']}… {row['user']} “{row['name']}” {row['state']} {times}")

    def do_revoke(self, options: dict[str, Any]) -> None:
        which = options["which"]
        if user := get_user_model().objects.filter(username=which).first():
            if not (number := ApiToken.objects.filter(user=user).revoke()):
                raise CommandError(f"“{which}” has no token.")
            self.stdout.write(f"Tokens of “{which}” revoked: {number}.")
            return
        token = self._token(which)
        if not ApiToken.objects.filter(pk=token.pk).revoke():
            raise CommandError(f"The token {token} is already revoked.")
        self.stdout.write(f"The token {token} is revoked.")

    def _user(self, name: str) -> Any:
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user “{name}”.")
        return user

    def _token(self, which: str) -> ApiToken:
        rows = ApiToken.objects.filter(prefix=which.removesuffix("…"))
        if which.isascii() and which.isdigit() and len(which) < 19 and not rows.exists():
            rows = ApiToken.objects.filter(pk=int(which))
        found = list(rows[:2])
        if len(found) > 1:
            raise CommandError(f"Several tokens begin with “{which}”: use the number. See: manage.py token list")
        if not found:
            raise CommandError(f"There is no user and no token “{which}”. See: manage.py token list")
        return found[0]


def token_row(token: ApiToken) -> dict[str, Any]:
    """Return the fields of a token that may be shown."""
    times = {name: getattr(token, f"{name}_at") for name in ("created", "last_used", "expires", "revoked")}
    return {
        "id": token.pk,
        "prefix": token.prefix,
        "user": token.user.get_username(),
        "name": token.name,
        "state": token.state,
        **{name: time.isoformat(timespec="seconds") if time else None for name, time in times.items()},
    }
