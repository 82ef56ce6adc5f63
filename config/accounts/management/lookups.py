"""Look-ups of command-line arguments."""

from __future__ import annotations

from django.core.management import CommandError

from channels_setup.models import ChatChannel
from channels_setup.provisioning import AmbiguousName, find_by_number_or_name


def find_chat_channel(text: str) -> ChatChannel:
    """Return a chat channel by number or name. Raises CommandError with a sentence."""
    try:
        chat_channel = find_by_number_or_name(ChatChannel.objects.all(), text)
    except AmbiguousName as problem:
        raise CommandError(str(problem)) from problem
    if chat_channel is None:
        raise CommandError(f"There is no chat channel “{text}”. Create one with: manage.py channel add")
    return chat_channel
