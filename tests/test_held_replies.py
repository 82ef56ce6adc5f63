"""Concurrent changes of a held reply: it is released, taken back or dropped exactly once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from bridge.models import Conversation, Draft, HeldReply, Message
from bridge.relay import held_replies
from tests.factories import ConversationFactory, MessageFactory, ServiceWindowFactory, boris
from tests.scenarios.concurrency import run_together

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 15


def held_reply(text: str = "Сапоги пришли") -> HeldReply:
    """Create Boris's held reply in a chat whose window Anna has just opened."""
    chat = ConversationFactory()
    MessageFactory(conversation=chat)
    ServiceWindowFactory(conversation=chat)
    return HeldReply.objects.create(
        conversation=chat,
        author=boris(chat.chat_channel),
        text=text,
        drop_at=timezone.now() - timedelta(seconds=1),
    )


def release(reply: HeldReply) -> int:
    with transaction.atomic():
        return held_replies.release_held_replies([reply.conversation_id])


def sent(reply: HeldReply) -> int:
    return Message.objects.filter(conversation=reply.conversation_id, direction="outbound", text=reply.text).count()


def test_two_workers_release_a_held_reply_once() -> None:
    for _ in range(ROUNDS):
        reply = held_reply()

        released = run_together(lambda r=reply: release(r), lambda r=reply: release(r))

        assert sorted(released) == [0, 1]
        assert sent(reply) == 1


@pytest.mark.parametrize("rival", ["taken back", "dropped"])
def test_a_reply_is_sent_or_becomes_a_draft_and_never_both(rival: str) -> None:
    def take_back(reply: HeldReply) -> Any:
        return held_replies.cancel_held_reply(reply.pk, visible_chats=Conversation.objects.all())

    other = take_back if rival == "taken back" else lambda _reply: held_replies.drop_expired_replies()
    for _ in range(ROUNDS):
        reply = held_reply()

        released, ended = run_together(lambda r=reply: release(r), lambda r=reply: other(r))

        assert bool(released) is not bool(ended)
        assert (sent(reply), Draft.objects.filter(text=reply.text, conversation=reply.conversation_id).count()) == (
            (1, 0) if released else (0, 1)
        )


def test_a_release_leaves_the_draft_that_the_operator_is_writing() -> None:
    reply = held_reply()
    Draft.objects.create(conversation=reply.conversation, user=reply.author, text="И ещё одно")

    release(reply)

    assert sent(reply) == 1
    assert Draft.objects.get().text == "И ещё одно"
