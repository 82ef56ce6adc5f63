"""Fetching clients' files: whose claim has run out changes nothing. The fetching itself: test_cloud_journeys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from bridge import media
from bridge.models import Attachment
from channels_setup.models import ApiChannel, ChannelState
from tests.factories import ApiChannelFactory, MessageFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting() -> Attachment:
    message = MessageFactory(conversation__api_channel=ApiChannelFactory(kind="acebot"))
    return Attachment.objects.create(message=message, external_id="m1", state="waiting", due_at=timezone.now())


def lease_ran_out(attachment: Attachment) -> None:
    Attachment.objects.filter(pk=attachment.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_late_failure_does_not_end_the_try_of_the_next(waiting: Attachment) -> None:
    (stale,) = media._claim()
    lease_ran_out(waiting)
    (current,) = media._claim()

    media._settle(stale, media.Failed("wa_token", for_good=True))

    waiting.refresh_from_db()
    assert (waiting.state, waiting.error, waiting.due_at) == ("waiting", "", current.due_at)
    assert not ApiChannel.objects.filter(state=ChannelState.FAILING).exists()


def test_a_late_failure_does_not_end_what_an_operator_asked_for_since(waiting: Attachment) -> None:
    (stale,) = media._claim()
    Attachment.objects.update(state="failed")
    assert media.fetch_again(waiting.pk, conversation_id=waiting.message.conversation_id)

    media._settle(stale, media.Failed("file_gone", for_good=True))

    waiting.refresh_from_db()
    assert (waiting.state, waiting.tries) == ("waiting", 0)


def test_the_holders_own_failure_is_written_and_the_next_try_planned(waiting: Attachment) -> None:
    (held,) = media._claim()

    media._settle(held, media.Failed("destination_error"))

    waiting.refresh_from_db()
    assert (waiting.state, waiting.error, waiting.tries) == ("waiting", "destination_error", 1)
    assert waiting.due_at
    assert waiting.due_at < timezone.now() + media.LEASE
