"""Manage service accounts from the command line."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser

from config.accounts.management.lookups import find_chat_channel
from config.accounts.models import ServiceAccount


class Command(BaseCommand):
    help = "Add, list, disable and enable service accounts: users of programs, which cannot sign in."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Create a service account. Then: manage.py token create NAME")
        add.add_argument("name", help="Letters, digits and @ . + - _, for example crm.")
        add.add_argument("--display-name", default="", help="Shown in chats instead of the name.")
        add.add_argument(
            "--chat-channel",
            action="append",
            default=[],
            help="Number or name of a chat channel whose chats its programs see. May be given several times. "
            "A program that only reads metrics needs none.",
        )
        show = actions.add_parser("list", help="List service accounts with the number of working tokens.")
        show.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")
        for name, help_text in (
            ("disable", "Stop all its programs at once. Its tokens are revoked permanently."),
            ("enable", "Allow new tokens for a disabled service account."),
        ):
            actions.add_parser(name, help=help_text).add_argument("name", help="Name of the service account.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, f"do_{action}")(options)

    def do_add(self, options: dict[str, Any]) -> None:
        chat_channels = [find_chat_channel(text) for text in options["chat_channel"]]
        try:
            account = ServiceAccount.create(
                options["name"], display_name=options["display_name"].strip(), chat_channels=chat_channels
            )
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from problem
        self.stdout.write(f"user_id   {account.pk}")

    def do_list(self, options: dict[str, Any]) -> None:
        rows = ServiceAccount.objects.with_token_count().order_by("username")
        found = [account_row(account) for account in rows.prefetch_related("service_chat_channels")]
        if options["output"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            channels = ", ".join(row["chat_channels"]) or "no chat channels"
            self.stdout.write(
                f"{row['id']:<6} {row['name']} “{row['display_name'] or row['name']}” {row['state']} "
                f"tokens={row['tokens']} {channels}"
            )

    def do_disable(self, options: dict[str, Any]) -> None:
        account = self._account(options["name"])
        account.is_active = False
        account.save(update_fields=["is_active"])
        self.stdout.write(f"The service account “{account.username}” is disabled, and its tokens are revoked.")

    def do_enable(self, options: dict[str, Any]) -> None:
        account = self._account(options["name"])
        account.is_active = True
        account.save(update_fields=["is_active"])
        self.stdout.write(f"The service account “{account.username}” is enabled. Create a new token for it.")

    def _account(self, name: str) -> ServiceAccount:
        account: ServiceAccount | None = ServiceAccount.objects.filter(username=name).first()
        if account is None:
            raise CommandError(f"There is no service account “{name}”. See: manage.py service list")
        return account


def account_row(account: Any) -> dict[str, Any]:
    """Return the facts of a service account that lists show."""
    return {
        "id": account.pk,
        "name": account.username,
        "display_name": account.display_name,
        "state": "active" if account.is_active else "disabled",
        "tokens": account.working_tokens,
        "chat_channels": [channel.name for channel in account.service_chat_channels.all()],
    }
