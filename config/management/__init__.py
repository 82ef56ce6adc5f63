"""Commands of manage.py."""

from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand
from django.utils import translation


class EnglishCommands(ManagementUtility):
    """Commands speak English, whatever the language of the portal: their own sentences and those of its parts.

    What a command sends to a person (emails, the export of a contact) is in that person's or the portal's language.
    """

    def fetch_command(self, subcommand: str) -> BaseCommand:
        translation.activate("en")
        return super().fetch_command(subcommand)
