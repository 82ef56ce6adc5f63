"""Settings of channels as the inbox uses them: read once in two seconds per process, and again after a failure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.fanout import subscribers
from bridge.models import Message
from bridge.settings_cache import SettingsCache
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import Account, EchoSeen, Fact, MessageReceived, StatusChanged


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """An API channel with its secrets in clear. Shared by batches: the next one sees what a batch changes in it."""

    api_channel: ApiChannel
    account: Account


def _read_channel(channel_id: int) -> ChannelSettings:
    api_channel = ApiChannel.objects.prefetch_related("secrets").get(pk=channel_id)
    return ChannelSettings(api_channel=api_channel, account=api_channel.account())


def _read_default_chat_channel(channel_id: int) -> ChatChannel | None:
    return ApiChannel(pk=channel_id).default_chat_channel


def _read_watchers(chat_channel_id: int) -> list[ApiChannel]:
    return subscribers.find_watchers([chat_channel_id]).get(chat_channel_id, [])


_channels = SettingsCache(_read_channel)
_default_chat_channels = SettingsCache(_read_default_chat_channel)
_watchers = SettingsCache(_read_watchers)


def get_channel(channel_id: int) -> ChannelSettings:
    """Return the channel and its account."""
    found = _channels.get(channel_id)
    assert found is not None  # ``_read_channel`` raises instead
    return found


def get_default_chat_channel(channel_id: int) -> ChatChannel | None:
    """Return the chat channel of messages that name none."""
    return _default_chat_channels.get(channel_id)


def get_watchers(chat_channel_ids: Iterable[int]) -> dict[int, list[ApiChannel]]:
    """Return chat channel ID → the API channels that watch it."""
    return {pk: _watchers.get(pk) or [] for pk in set(chat_channel_ids)}


def discard_settings(channel_id: int) -> None:
    """Read everything again next time: a batch failed, and a change or deletion of settings may be the reason."""
    _channels.discard(channel_id)
    _default_chat_channels.discard(channel_id)
    _watchers.entries.clear()


def needs_current_settings(facts: Iterable[Fact]) -> bool:
    """Return whether a fact changes the channel or depends on its state, unlike messages and ordinary statuses."""
    return any(
        not isinstance(fact, MessageReceived | EchoSeen | StatusChanged)
        or (isinstance(fact, StatusChanged) and fact.status == Message.Status.FAILED)
        for fact in facts
    )
