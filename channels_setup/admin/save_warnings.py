"""Warnings on saving a channel: settings that are allowed but often a mistake."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from channels_setup.models import ApiChannel, ChatChannel


def watch_label(chat_channel: ChatChannel, own: Any) -> str:
    """Return the label of a chat channel to watch, with the API channels that watch it, except ``own``."""
    others = [watcher.name for watcher in chat_channel.watchers.all() if str(watcher.pk) != str(own)]
    if not others:
        return str(chat_channel)
    names = ", ".join(_("“%(name)s”") % {"name": name} for name in others)
    return _("%(chat_channel)s: already watched by %(names)s") % {"chat_channel": chat_channel, "names": names}


def api_channel_warnings(channel: ApiChannel) -> list[str]:
    """Return warnings about chat channels that other API channels also watch, and about an equal name."""
    found = []
    for chat_channel in channel.watched.prefetch_related("watchers"):
        others = [watcher.name for watcher in chat_channel.watchers.all() if watcher.pk != channel.pk]
        if others:
            names = ", ".join(_("“%(name)s”") % {"name": name} for name in others)
            sentence = _(
                "“%(chat_channel)s” is also watched by %(names)s. Replies use the API channel that the client wrote "
                "to; the other channels get marked copies. For a second number, create a separate chat channel "
                "unless its chats belong in the same place."
            )
            found.append(sentence % {"chat_channel": chat_channel.name, "names": names})
    return found + _same_name_warnings(channel)


def chat_channel_warnings(chat_channel: ChatChannel) -> list[str]:
    return _same_name_warnings(chat_channel)


def _same_name_warnings(row: ApiChannel | ChatChannel) -> list[str]:
    others = type(row)._default_manager.filter(name__iexact=row.name).exclude(pk=row.pk).order_by("pk")
    numbers = ", ".join(str(pk) for pk in others.values_list("pk", flat=True)[:5])
    if not numbers:
        return []
    sentence = _("Another channel is also named “%(name)s” (number %(numbers)s). Rename one of them.")
    return [sentence % {"name": row.name, "numbers": numbers}]
