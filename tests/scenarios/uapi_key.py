"""An API channel with a key for the public API, and the chat channel that it watches. Fixtures."""

from __future__ import annotations

import pytest

from channels_setup.models import ApiChannel, ChatChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory


@pytest.fixture
def chat_channel() -> ChatChannel:
    return ChatChannelFactory()


@pytest.fixture
def api_channel(chat_channel: ChatChannel) -> ApiChannel:
    return ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/hook", watched=chat_channel, secret=True)


@pytest.fixture
def key(api_channel: ApiChannel) -> str:
    return api_channel.current_secret().reveal()
