"""Tokens for programs that call /api/v1/."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser
from rest_framework.authtoken.models import Token


class Command(BaseCommand):
    help = "Print a user's API token, or take it back. A program with the token may do what the user may."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("create", help="Print the token; the same one when repeated.").add_argument("name")
        actions.add_parser("revoke", help="The token is worth nothing from now on.").add_argument("name")

    def handle(self, *args: Any, action: str, name: str, **options: Any) -> None:
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user “{name}”.")
        if action == "create":
            self.stdout.write(Token.objects.get_or_create(user=user)[0].key)
            return
        if not Token.objects.filter(user=user).delete()[0]:
            raise CommandError(f"“{name}” has no token.")
        self.stdout.write(f"The token of “{name}” is taken back.")
