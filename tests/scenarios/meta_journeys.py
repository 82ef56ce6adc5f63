"""A channel of the Meta simulator: its fixtures, the workers' tasks, and replies to its only chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from bridge.inbox import processing
from bridge.models import Conversation, Message
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.cloud_accounts import cloud_channel
from tests.factories import vera
from tests.simulators.meta import MetaSimulator

APP_SECRET, TOKEN, VERIFY = "app-secret-of-the-simulator", "EAAsimulator", "verify-token-of-the-simulator"


@pytest.fixture
def meta() -> Iterator[MetaSimulator]:
    with MetaSimulator(
        app_secret=APP_SECRET, access_token=TOKEN, verify_token=VERIFY, own_media_host=False
    ) as simulator:
        yield simulator


@pytest.fixture
def channel(meta: MetaSimulator, live_server: LiveServer) -> ApiChannel:
    secrets = {"app_secret": APP_SECRET, "access_token": TOKEN, "verify_token": VERIFY}
    made = cloud_channel(settings={"base_url": meta.url} | secrets)
    assert meta.connect(f"{live_server.url}{made.webhook_path}")
    return made


def run_due_tasks(meta: MetaSimulator) -> None:
    """Run every task that the workers would run now."""
    meta.quiet()
    processing.process_inbox()
    dispatcher.send_due_deliveries()
    meta.quiet()
    processing.process_inbox()


def send_reply(text: str, **more: Any) -> Message:
    submitted = reply_submission.submit_reply(
        conversation_id=Conversation.objects.get().pk, text=text, author=vera(), **more
    )
    assert submitted.message is not None, submitted.decision
    return submitted.message
