"""Manage users from the command line."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from channels_setup.models import ChatChannel
from channels_setup.provisioning import AmbiguousName, find_by_number_or_name
from channels_setup.roles import Role, assign_role
from channels_setup.secret_options import add_secret_option, read_secret_option

PASSWORD_VARIABLE = "USER_PASSWORD"


class Command(BaseCommand):
    help = "Add users with a role. A generated password is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Create a user.")
        add.add_argument("name")
        add.add_argument("--role", required=True, choices=Role.values)
        add.add_argument(
            "--chat-channel",
            action="append",
            default=[],
            help="Number or name of a chat channel whose chats an operator answers. May be given several times.",
        )
        add_secret_option(add, "password", variable=PASSWORD_VARIABLE, help_text="Generated if not set.")
        add.add_argument("--output", choices=["text", "json"], default="text")

    @transaction.atomic
    def handle(self, *args: Any, output: str, **options: Any) -> None:
        chat_channels = [self._chat_channel(text) for text in options["chat_channel"]]
        given = read_secret_option(self, options, "password", variable=PASSWORD_VARIABLE)
        password = given or secrets.token_urlsafe(12)
        user = self._user(options["name"], password=password)
        assign_role(user, role=Role(options["role"]), chat_channels=chat_channels)
        if options["role"] == Role.OPERATOR and not chat_channels:
            self.stderr.write("This operator sees no chats yet. Use --chat-channel to assign chat channels.")
        if output == "json":
            self.stdout.write(json.dumps({"user_id": user.pk} | ({} if given else {"password": password})))
        else:
            self.stdout.write(f"user_id   {user.pk}" + ("" if given else f"\npassword  {password}"))

    def _user(self, name: str, *, password: str) -> Any:
        user = get_user_model()(username=name)
        try:
            user.full_clean(exclude=["password"])
            validate_password(password, user)
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from problem
        user.set_password(password)
        user.save()
        return user

    def _chat_channel(self, text: str) -> ChatChannel:
        try:
            chat_channel = find_by_number_or_name(ChatChannel.objects.all(), text)
        except AmbiguousName as problem:
            raise CommandError(str(problem)) from problem
        if chat_channel is None:
            raise CommandError(f"There is no chat channel “{text}”. Create one with: manage.py channel add")
        return chat_channel
