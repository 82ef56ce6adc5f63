"""Manage users from the command line."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from channels_setup.roles import Role, assign_role
from channels_setup.secret_options import add_secret_option, read_secret_option
from config.accounts import one_time_links, second_factor, sessions, user_transfer
from config.accounts.management import user_states
from config.accounts.management.lookups import find_chat_channel
from config.audit import record

PASSWORD_VARIABLE = "USER_PASSWORD"
NAME_HELP = "The name with which the user signs in."
STATE_ACTIONS = {
    "disable": "Stop a user from signing in, and end all sessions. Chats and messages stay.",
    "enable": "Let a disabled user sign in again.",
}

ACCESS_ACTIONS = {
    "link": "Print a one-time link that sets a password.",
    "sign-out": "End all sessions of a user.",
    "remove-second-factors": "Remove all second factors, for a user who lost them, and end all sessions.",
}
ACCESS = {
    "link": one_time_links.password_link,
    "sign-out": sessions.end_sessions,
    "remove-second-factors": second_factor.remove_second_factors,
}


class Command(BaseCommand):
    help = "Add, invite, list, disable, export and import users, and manage their access. Secrets are printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="Create a user with a password.")
        invite = actions.add_parser(
            "invite", help="Create a user without a password, and email or print a one-time link that sets one."
        )
        for new in (add, invite):
            new.add_argument("name", help=NAME_HELP)
            new.add_argument("--role", required=True, choices=Role.values, help="What the user may do.")
            new.add_argument(
                "--chat-channel",
                action="append",
                default=[],
                help="Number or name of a chat channel whose chats the user answers. May be given several times.",
            )
        add_secret_option(add, "password", variable=PASSWORD_VARIABLE, help_text="Generated if not set.")
        invite.add_argument("--email", default="", help="Address for the link. Without it, the link is printed.")
        password = actions.add_parser("password", help="Set a user's password, and end all sessions of the user.")
        password.add_argument("name", help=NAME_HELP)
        add_secret_option(password, "password", variable=PASSWORD_VARIABLE, help_text="Generated if not set.")
        show = actions.add_parser("list", help="List the users with role, state and last sign-in.")
        show.add_argument("--role", choices=Role.values, help="Only users with this role.")
        show.add_argument("--state", choices=["active", "disabled"], help="Only users in this state.")
        for with_output in (add, password, show):
            with_output.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")
        for word, help_text in STATE_ACTIONS.items():
            actions.add_parser(word, help=help_text).add_argument("name", help=NAME_HELP)
        role = actions.add_parser("role", help="Give a user another role. Fewer permissions end the user's sessions.")
        role.add_argument("name", help=NAME_HELP)
        role.add_argument("role", choices=[*Role.values, "none"], help="The new role; none takes the role away.")
        export = actions.add_parser("export", help="Write all users and groups as JSON. API tokens are not exported.")
        export.add_argument("file", nargs="?", default="-", help="- (or nothing) for stdout.")
        export.add_argument(
            "--include-password-hashes",
            action="store_true",
            help="Let users sign in with their old passwords after the import. Keep such a file secret.",
        )
        import_ = actions.add_parser("import", help="Create or update the users of an exported file. Can be repeated.")
        import_.add_argument("file", help="- for stdin.")
        for name, help_text in ACCESS_ACTIONS.items():
            actions.add_parser(name, help=help_text).add_argument("name", help=NAME_HELP)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if action in ACCESS:
            self.stdout.write(ACCESS[action](self._active_user(options["name"])))
        else:
            getattr(self, f"do_{action}")(options)

    def _active_user(self, name: str) -> Any:
        user = user_states.find_person(name)
        if not user.is_active:
            raise CommandError(f"The user “{name}” is disabled. Enable it with: manage.py user enable {name}")
        return user

    def do_list(self, options: dict[str, Any]) -> None:
        is_active = None if options["state"] is None else options["state"] == "active"
        rows = user_states.user_rows(role=options["role"], is_active=is_active)
        if options["output"] == "json":
            self.stdout.write(json.dumps(rows, ensure_ascii=False))
            return
        for row in rows:
            self.stdout.write(user_states.row_text(row))
        if not rows:
            self.stderr.write("No users. Create one with: manage.py user add NAME --role admin")

    def do_password(self, options: dict[str, Any]) -> None:
        chosen = read_secret_option(self, options, "password", variable=PASSWORD_VARIABLE)
        user = self._active_user(options["name"])
        password = user_states.change_password(user, chosen)
        self._write_user(user, options, new_password="" if chosen else password)

    def do_disable(self, options: dict[str, Any]) -> None:
        self.stdout.write(user_states.disable(user_states.find_person(options["name"])))

    def do_enable(self, options: dict[str, Any]) -> None:
        self.stdout.write(user_states.enable(user_states.find_person(options["name"])))

    def do_invite(self, options: dict[str, Any]) -> None:
        with transaction.atomic():
            user = self._create(options, password=None, email=options["email"])
        self.stdout.write(user_states.send_invitation(user))

    def do_export(self, options: dict[str, Any]) -> None:
        record.record_export("accounts.user", details={"password_hashes": options["include_password_hashes"]})
        data = user_transfer.export_users(include_password_hashes=options["include_password_hashes"])
        text = json.dumps(data, ensure_ascii=False, indent=2)
        if options["file"] == "-":
            self.stdout.write(text)
            return
        try:
            with open(options["file"], "w", encoding="utf-8", opener=_open_private) as file:
                file.write(text + "\n")
        except OSError as problem:
            raise CommandError(f"The file cannot be written: {problem.strerror}.") from problem

    def do_import(self, options: dict[str, Any]) -> None:
        try:
            data = sys.stdin.buffer.read() if options["file"] == "-" else Path(options["file"]).read_bytes()
            report = user_transfer.import_users(json.loads(data))
        except OSError as problem:
            raise CommandError(f"The file cannot be read: {problem.strerror}.") from problem
        except user_transfer.InvalidUserFile as problem:
            raise CommandError(str(problem)) from problem
        except ValueError as problem:
            raise CommandError("The file is not JSON in UTF-8.") from problem
        for sentence in dict.fromkeys(report.warnings):
            self.stderr.write(self.style.WARNING(sentence))
        self.stdout.write(f"{report.added} added, {report.updated} updated")

    @transaction.atomic
    def do_add(self, options: dict[str, Any]) -> None:
        chosen_password = read_secret_option(self, options, "password", variable=PASSWORD_VARIABLE)
        password = chosen_password or secrets.token_urlsafe(12)
        user = self._create(options, password=password)
        self._write_user(user, options, new_password="" if chosen_password else password)

    def do_role(self, options: dict[str, Any]) -> None:
        user = user_states.find_person(options["name"])
        role = None if options["role"] == "none" else Role(options["role"])
        assign_role(user, role=role)
        self.stdout.write(f"{user.username}: {role.label if role else 'no role'}")
        if user.is_superuser:
            self.stderr.write("This user is a superuser and keeps all permissions.")
        elif role in (Role.OPERATOR, Role.SUPERVISOR) and not user.chat_channels.exists():
            self.stderr.write(f"This {role.value} sees no chats yet. Assign chat channels in the admin.")

    def _create(self, options: dict[str, Any], *, password: str | None, email: str = "") -> Any:
        chat_channels = [find_chat_channel(text) for text in options["chat_channel"]]
        if chat_channels and options["role"] == Role.AUDITOR:
            raise CommandError("An auditor sees no chats. Leave out --chat-channel.")
        user = self._user(options["name"], password=password, email=email)
        assign_role(user, role=Role(options["role"]), chat_channels=chat_channels)
        if options["role"] in (Role.OPERATOR, Role.SUPERVISOR) and not chat_channels:
            self.stderr.write(f"This {options['role']} sees no chats yet. Use --chat-channel to assign chat channels.")
        return user

    def _write_user(self, user: Any, options: dict[str, Any], *, new_password: str) -> None:
        """Write the user's ID, and the password if it was generated."""
        row = {"user_id": user.pk} | ({"password": new_password} if new_password else {})
        if options["output"] == "json":
            self.stdout.write(json.dumps(row))
        else:
            self.stdout.write("\n".join(f"{name:<9} {value}" for name, value in row.items()))

    def _user(self, name: str, *, password: str | None, email: str) -> Any:
        user = get_user_model()(username=name, email=email)
        try:
            user.full_clean(exclude=["password"])
            if password is not None:
                validate_password(password, user)
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from problem
        user.set_password(password)
        user.save()
        return user


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read, because it may contain password hashes."""
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file
