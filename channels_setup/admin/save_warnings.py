"""Warnings on saving a channel: settings that are allowed, and that are easily a mistake."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from channels_setup.models import ApiChannel, ChatChannel


def watch_label(chat_channel: ChatChannel, own: Any) -> str:
    """A chat channel in the list of those to watch, with the API channels that watch it, except for ``own``."""
    others = [watcher.name for watcher in chat_channel.watchers.all() if str(watcher.pk) != str(own)]
    if not others:
        return str(chat_channel)
    names = ", ".join(_("“%(name)s”") % {"name": name} for name in others)
    return _("%(chat_channel)s: watched by %(names)s already") % {"chat_channel": chat_channel, "names": names}


def api_channel_warnings(channel: ApiChannel) -> list[str]:
    """Chat channels that another API channel watches as well, and a name that another API channel has."""
    found = []
    for chat_channel in channel.watched.prefetch_related("watchers"):
        others = [watcher.name for watcher in chat_channel.watchers.all() if watcher.pk != channel.pk]
        if others:
            names = ", ".join(_("“%(name)s”") % {"name": name} for name in others)
            sentence = _(
                "“%(chat_channel)s” is watched by %(names)s as well. Each client is answered over the API channel they "
                "wrote to; the others get copies that are marked as such. For a second number make a chat channel of "
                "its own, unless its chats should land in the same place."
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
    sentence = _("Another channel is named “%(name)s” too (number %(numbers)s). Give one of them another name.")
    return [sentence % {"name": row.name, "numbers": numbers}]
