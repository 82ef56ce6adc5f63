"""Set up chat channels of an external helpdesk from the command line."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from bridge.helpdesk import connection_check, connections
from bridge.models import HelpdeskConnection
from channels_setup import account_settings
from channels_setup.management.commands.channel import (
    ADDRESS_ACTIONS,
    address_rows,
    end_old_address,
    error_text,
    find_channel,
    issue_address,
)
from channels_setup.models import ChatChannel
from channels_setup.providers import helpdesks
from channels_setup.providers.base import SECRET
from channels_setup.secret_options import add_secret_option, option_flag, read_secret_option
from channels_setup.shown_secrets import record_shown_address

KEY_VARIABLE = "HELPDESK_SECRET_KEY"


class Command(BaseCommand):
    help = "Add, change, show and check chat channels of an external helpdesk. Never prints a key."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Add a chat channel.")
        outside = [kind for kind, provider in helpdesks().items() if not provider.built_in]
        add.add_argument("--kind", required=True, choices=outside, help="The helpdesk.")
        add.add_argument("--name", required=True, help="Name of the chat channel in lists.")
        add.add_argument("--company-id", type=int, required=True, help="The account's ID in the helpdesk.")
        change = actions.add_parser("change", help="Change the given settings and keep the others.")
        check = actions.add_parser("check", help="Test both directions. The exit code is 1 if a check fails.")
        check.add_argument(
            "--wait",
            type=float,
            default=connection_check.WAIT_SECONDS,
            help="Seconds to wait for the event.",
        )
        more = [actions.add_parser(word, help=text) for word, text in ADDRESS_ACTIONS.items()]
        for action in (change, check, actions.add_parser("show", help="Show the settings and the last events."), *more):
            action.add_argument("channel", help="ID or name of the chat channel.")
        for action in (add, change):
            action.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="A setting.")
            add_secret_option(action, "secret_key", variable=KEY_VARIABLE, help_text="The helpdesk's key.")
        for action in actions.choices.values():
            action.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")

    def handle(self, *args: Any, action: str, output: str, **options: Any) -> None:
        answer = getattr(self, f"do_{action.replace('-', '_')}")(options)
        if output == "json":
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
        elif isinstance(answer, list):
            for found in answer:
                self.stdout.write(f"{found['level']:8} {found['sentence']}")
        else:
            for name, value in answer.items():
                self.stdout.write(f"{name:18} {value}")
        if isinstance(answer, list) and any(found["level"] == "error" for found in answer):
            raise SystemExit(1)

    @transaction.atomic
    def do_add(self, options: dict[str, Any]) -> dict[str, Any]:
        chat_channel = ChatChannel(kind=options["kind"], name=options["name"], company_id=options["company_id"])
        self._configure(chat_channel, options)
        record_shown_address(chat_channel)
        return {**serialize_channel(chat_channel), "webhook_url": chat_channel.webhook_url}

    @transaction.atomic
    def do_change(self, options: dict[str, Any]) -> dict[str, Any]:
        chat_channel = self._chat_channel(options)
        self._configure(chat_channel, options)
        return serialize_channel(chat_channel)

    def do_show(self, options: dict[str, Any]) -> dict[str, Any]:
        return serialize_channel(self._chat_channel(options))

    def do_new_address(self, options: dict[str, Any]) -> dict[str, Any]:
        return issue_address(self._chat_channel(options))

    def do_end_old_address(self, options: dict[str, Any]) -> dict[str, Any]:
        return end_old_address(self._chat_channel(options))

    def do_check(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        found = connection_check.run_connection_check(self._chat_channel(options), wait=options["wait"])
        return [{"level": each.level, "sentence": str(each.sentence)} for each in found]

    def _configure(self, chat_channel: ChatChannel, options: dict[str, Any]) -> None:
        settings = dict(pair.partition("=")[::2] for pair in options["set"])
        if secret_names := [each.name for each in chat_channel.provider.settings if each.kind == SECRET]:
            for name in settings.keys() & set(secret_names):
                raise CommandError(
                    f"--set does not take secrets. Use {option_flag(name)}-file or the variable {KEY_VARIABLE}."
                )
        secret = read_secret_option(self, options, "secret_key", variable=KEY_VARIABLE)
        try:
            chat_channel.full_clean()
            values = account_settings.clean_values(
                chat_channel, settings | ({"secret_key": secret} if secret else {}), complete=True
            )
        except ValidationError as problem:
            raise CommandError(error_text(problem, named=str)) from problem
        chat_channel.save()
        account_settings.save_values(chat_channel, values)
        for sentence in account_settings.unresolved_address_warnings(chat_channel):
            self.stderr.write(self.style.WARNING(sentence))
        connections.end_backoff([chat_channel.pk])

    def _chat_channel(self, options: dict[str, Any]) -> ChatChannel:
        chat_channel = find_channel(ChatChannel.objects.all(), options["channel"])
        if chat_channel is None or chat_channel.provider.built_in:
            raise CommandError(f"There is no chat channel “{options['channel']}” of an external helpdesk.")
        return chat_channel


def serialize_channel(chat_channel: ChatChannel) -> dict[str, Any]:
    """Return the data that may be shown, without the key and the webhook address."""
    connection = HelpdeskConnection.objects.filter(chat_channel=chat_channel).first()
    return {
        "chat_channel_id": chat_channel.pk,
        "name": chat_channel.name,
        "kind": chat_channel.kind,
        "company_id": chat_channel.company_id,
        "addresses": address_rows(chat_channel),
        **chat_channel.options,
        "events_seen": sorted(connection.first_events) if connection else [],
        "last_event_at": connection.last_event_at.isoformat() if connection and connection.last_event_at else None,
        "last_error": connection.last_error if connection else "",
    }
