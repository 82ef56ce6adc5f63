"""Manage channels from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import models, transaction
from django.utils import timezone, translation

from channels_setup import account_settings, shown_secrets
from channels_setup.admin import save_warnings
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers import messengers
from channels_setup.providers.base import SECRET
from channels_setup.provisioning import AmbiguousName, ModelT, add_api_channel, find_by_number_or_name
from channels_setup.secret_options import add_secret_option, option_flag, read_secret_option

ADDRESS_ACTIONS = {
    "new-address": "Issue a new webhook address and print it. The old one works for seven more days.",
    "end-old-address": "End the old webhook address. Calls to it are refused.",
}
CHANNEL_ACTIONS = {
    "show": "Show one API channel.",
    "pause": "Pause sending. Messages are held until the channel is resumed.",
    "resume": "Resume a paused channel. Held messages are sent.",
    "archive": "Put a channel away: it receives and sends nothing, and its chats stay readable.",
    "unarchive": "Take an archived channel back into use. It stays paused until `resume`.",
}
SUMMARY_FIELDS = ("chat_channel_id", "last_used_at", "expires_at")


class Command(BaseCommand):
    help = "Add, list, show, pause, resume and archive channels. Only `add` ever prints a secret key, once."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        self._add_arguments(actions.add_parser("add", help="Create an API channel and, if needed, its chat channel."))
        actions.add_parser("list", help="List all API channels.")
        for word, text in (CHANNEL_ACTIONS | ADDRESS_ACTIONS).items():
            subparser = actions.add_parser(word, help=text)
            subparser.add_argument("channel", help="The API channel's number or name.")
        for action in actions.choices.values():
            action.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")

    def _add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", required=True, choices=list(messengers()), help="The provider.")
        parser.add_argument("--name", required=True, help="Name in the list of channels.")
        parser.add_argument(
            "--chat-channel", required=True, help="Name of a new chat channel, or number or name of an existing one."
        )
        parser.add_argument("--company-id", type=int, help="Company ID of a new chat channel.")
        parser.add_argument("--redirect-url", default="", help="The provider's webhook.")
        parser.add_argument("--form", action="store_true", help="Send the body as a form instead of JSON.")
        parser.add_argument("--multipart", action="store_true", help="Send the body as multipart/form-data.")
        parser.add_argument("--no-utf8", action="store_true", help="Convert characters instead of sending UTF-8.")
        parser.add_argument(
            "--copy-replies", action="store_true", help="Also copy operators' replies in chats of other API channels."
        )
        parser.add_argument("--calls-per-second", type=float, help="Maximum calls per second.")
        for setting in {setting.name: setting for each in messengers().values() for setting in each.settings}.values():
            with translation.override("en"):  # the language of the other help texts
                label = str(setting.label)
            if setting.kind == SECRET:
                add_secret_option(
                    parser, setting.name, variable=environment_variable(setting.name), help_text=f"{label}."
                )
            else:
                parser.add_argument(option_flag(setting.name), dest=setting.name, help=label)
        parser.add_argument("--track", help=f"Comma-separated events to follow: {','.join(ApiChannel.EVENT_KINDS)}.")

    def handle(self, *args: Any, action: str, output: str, **options: Any) -> None:
        answer = getattr(self, f"do_{action.replace('-', '_')}")(options)
        if output == "json":
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
            return
        for index, row in enumerate(answer if isinstance(answer, list) else [answer]):
            self.stdout.write(("\n" if index else "") + row_text(row))

    @transaction.atomic
    def do_add(self, options: dict[str, Any]) -> dict[str, Any]:
        tracks = options["track"]
        try:
            chat_channel = self._chat_channel(options["chat_channel"], company_id=options["company_id"])
            api_channel = add_api_channel(
                chat_channel=chat_channel,
                kind=options["kind"],
                name=options["name"],
                redirect_url=options["redirect_url"],
                send_json=not (options["form"] or options["multipart"]),
                send_multipart=options["multipart"],
                send_utf8=not options["no_utf8"],
                calls_per_second=options["calls_per_second"],
                copy_replies=options["copy_replies"],
                settings=self._settings(options),
                tracks=None if tracks is None else [word.strip() for word in tracks.split(",") if word.strip()],
            )
        except ValidationError as problem:
            raise CommandError(error_text(problem)) from problem
        for sentence in save_warnings.api_channel_warnings(api_channel):
            self.stderr.write(self.style.WARNING(sentence))
        secret = api_channel.current_secret()
        assert secret is not None
        secret.shown_at = timezone.now()
        secret.save(update_fields=["shown_at"])
        for sentence in account_settings.unresolved_address_warnings(api_channel):
            self.stderr.write(self.style.WARNING(sentence))
        generated = account_settings.generated_secrets(api_channel) if not options.get("verify_token") else {}
        shown_secrets.record_shown_key(secret)
        shown_secrets.record_shown_address(api_channel)
        shown_secrets.record_shown_settings(api_channel, *generated)
        return {
            "api_channel": api_channel.pk,
            "app_id": api_channel.app_id,
            "secret_key": secret.reveal(),
            "chat_channel_id": chat_channel.pk,
            "company_id": chat_channel.company_id,
            "webhook_url": api_channel.webhook_url,
            **generated,
        }

    def _settings(self, options: dict[str, Any]) -> dict[str, str] | None:
        """Return the given account settings of this kind. Raises CommandError for settings of other kinds."""
        own = {setting.name: setting for setting in messengers()[options["kind"]].settings}
        others = {setting.name for each in messengers().values() for setting in each.settings} - own.keys()
        options_of_others = {*others, *(f"{name}_file" for name in others)}
        if foreign := sorted(name for name in options_of_others if options.get(name) is not None):
            raise CommandError(
                f"Not available for {options['kind']}: {', '.join(option_flag(name) for name in foreign)}"
            )
        for name, setting in own.items():
            if setting.kind == SECRET:
                options[name] = read_secret_option(self, options, name, variable=environment_variable(name)) or None
        return {name: options[name] for name in own if options.get(name) is not None} if own else None

    def _chat_channel(self, text: str, *, company_id: int | None) -> ChatChannel:
        """Return an existing chat channel, or create one with this name."""
        chat_channel = find_channel(ChatChannel.objects.all(), text)
        if chat_channel is None:
            if text.isdigit():
                raise CommandError(f"There is no chat channel {text}.")
            chat_channel = ChatChannel(name=text)
            if company_id is not None:
                chat_channel.company_id = company_id
            chat_channel.full_clean()
            chat_channel.save()
        elif company_id not in (None, chat_channel.company_id):
            raise CommandError(f"Chat channel {chat_channel.pk} has the company ID {chat_channel.company_id}.")
        return chat_channel

    def do_list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        return [channel_row(api_channel) for api_channel in ApiChannel.objects.prefetch_related("watched")]

    def do_show(self, options: dict[str, Any]) -> dict[str, Any]:
        return channel_row(self._api_channel(options))

    def do_pause(self, options: dict[str, Any]) -> dict[str, Any]:
        api_channel = self._api_channel(options)
        api_channel.pause()
        return channel_row(api_channel)

    def do_resume(self, options: dict[str, Any]) -> dict[str, Any]:
        api_channel = self._api_channel(options)
        if api_channel.archived_at is not None:
            raise CommandError(f"“{api_channel.name}” is archived. First: manage.py channel unarchive {api_channel.pk}")
        api_channel.resume()  # held messages are sent at the next periodic run
        return channel_row(api_channel)

    def do_archive(self, options: dict[str, Any]) -> dict[str, Any]:
        api_channel = self._api_channel(options)
        api_channel.archive()
        return channel_row(api_channel)

    def do_unarchive(self, options: dict[str, Any]) -> dict[str, Any]:
        api_channel = self._api_channel(options)
        api_channel.unarchive()
        return channel_row(api_channel)

    def do_new_address(self, options: dict[str, Any]) -> dict[str, Any]:
        return issue_address(self._api_channel(options))

    def do_end_old_address(self, options: dict[str, Any]) -> dict[str, Any]:
        return end_old_address(self._api_channel(options))

    def _api_channel(self, options: dict[str, Any]) -> ApiChannel:
        api_channel = find_channel(ApiChannel.objects.all(), options["channel"])
        if api_channel is None:
            raise CommandError(f"There is no API channel “{options['channel']}”. See: manage.py channel list")
        return api_channel


def issue_address(channel: ApiChannel | ChatChannel) -> dict[str, Any]:
    """Issue a new webhook address and return it in clear, with the expiry of the old one."""
    if channel.issue_address() is None:
        raise CommandError("Two addresses are valid. End the old one first: end-old-address.")
    shown_secrets.record_shown_address(channel)
    return {"webhook_url": channel.webhook_url, "addresses": address_rows(channel)}


def end_old_address(channel: ApiChannel | ChatChannel) -> dict[str, Any]:
    if not channel.end_old_address():
        raise CommandError("There is no old address that is still valid.")
    return {"addresses": address_rows(channel)}


def address_rows(channel: ApiChannel | ChatChannel) -> list[dict[str, Any]]:
    """Return the valid webhook addresses, masked."""
    return [
        {
            "name": f"/webhooks/{channel.kind}/••••{row.tail}/",
            "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
            "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        }
        for row in channel.valid_addresses()
    ]


def environment_variable(name: str) -> str:
    """Return the environment variable of a secret setting, e.g. CHANNEL_ACCESS_TOKEN."""
    return f"CHANNEL_{name.upper()}"


def find_channel(rows: models.QuerySet[ModelT], text: str) -> ModelT | None:
    try:
        return find_by_number_or_name(rows, text)
    except AmbiguousName as problem:
        raise CommandError(str(problem)) from problem


def error_text(problem: ValidationError, *, named: Callable[[str], str] = option_flag) -> str:
    """Join the messages of a validation error, each with the flag of its option."""
    if not hasattr(problem, "error_dict"):
        return " ".join(problem.messages)
    options = {name: f"{named(name)}: " for name in problem.message_dict if name != "__all__"}
    return " ".join(options.get(name, "") + " ".join(texts) for name, texts in problem.message_dict.items())


def channel_row(api_channel: ApiChannel) -> dict[str, Any]:
    """Return the fields of an API channel that may be shown. Webhook addresses are secrets, so they are masked."""
    names = ("first_inbound_at", "first_outbound_at", "last_error_at", "archived_at")
    times = {name: getattr(api_channel, name) for name in names}
    return {
        "api_channel": api_channel.pk,
        "name": api_channel.name,
        "kind": api_channel.kind,
        "state": api_channel.state,
        "app_id": api_channel.app_id,
        "redirect_url": api_channel.redirect_url,
        "tracked": api_channel.tracked,
        "chat_channels": [
            {"chat_channel_id": chat_channel.pk, "name": chat_channel.name, "company_id": chat_channel.company_id}
            for chat_channel in api_channel.watched.all()
        ],
        "addresses": address_rows(api_channel),
        "last_error": api_channel.last_error,
        **{name: time.isoformat() if time else None for name, time in times.items()},
    }


def row_text(row: dict[str, Any]) -> str:
    return "\n".join(f"{name:18} {_plain_text(value)}" for name, value in row.items() if value not in ("", None))


def _plain_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_plain_text(item) for item in value)
    if isinstance(value, dict):
        details = [str(each) for name, each in value.items() if name in SUMMARY_FIELDS and each]
        return f"{value['name']} ({', '.join(details)})" if details else str(value["name"])
    return str(value)
