"""Statements of the message flow read few rows of large tables, whatever PostgreSQL's statistics say.

A table grows before autovacuum analyzes it, and statistics can be wrong. So each statement is explained on tables that
were never analyzed, on tables with statistics that are no longer true, and for a channel that the statistics do not
know. The tables have a long history, and the claims meet long queues. What workers do is also done with prepared
statements, which have one plan for all values.
"""

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext

import pytest
from django.db import connection, transaction

from bridge import service_window
from bridge.automation import runs
from bridge.channel_health import webhook_inactivity
from bridge.conversations import availability, message_statuses
from bridge.desk.live import versions
from bridge.inbox import processing
from bridge.intake import group_commit
from bridge.models import ChannelAutomation, Conversation, Delivery, Message, ServiceWindow, Ticket, WebhookEvent
from bridge.outbox import claims, dispatcher
from bridge.outbox.destinations import POLICIES
from bridge.outbox.destinations.helpdesks import HelpdeskPolicy
from bridge.outbox.destinations.messages import MessagePolicy
from channels_setup.models import ApiChannel
from channels_setup.providers.base import StatusChanged
from config.audit import context
from config.monitoring import gauges
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, copies, operator
from tests.prepared import prepares_statements
from tests.query_plans import LARGE_TABLES, Statements, analyze, forget_statistics
from tests.receiver import Receiver
from tests.scenarios.inbox import says
from tests.scenarios.sending import anna_writes, boris_answers

pytestmark = pytest.mark.django_db

MANY = 20_000  # chats; twice as many messages, deliveries and events
BATCH = 120  # more than the 100 IDs that the planner compares with the condition of a partial index
MAX_ROWS = MANY // 2  # of one table, by one statement; each table has more than MANY
MAX_PAGES = 300 + 30 * BATCH


@pytest.fixture(autouse=True)
def _forgotten_sizes(db: None) -> None:
    forget_statistics()


@pytest.fixture(params=["never analyzed", "ten times as large as when analyzed", "channel younger than the statistics"])
def large(receiver: Receiver, request: pytest.FixtureRequest) -> Message:
    """Return the first reply of a channel with a long history, all messages of which a program gets."""
    analyzed = 0 if request.param == "never analyzed" else MANY // 10
    if "younger" in request.param:
        add_history(begin_history(receiver, "/old"), 0, analyzed, key="old")
        analyze()
        analyzed = 0
    reply = begin_history(receiver, "/hook")
    if analyzed:
        add_history(reply, 0, analyzed)
        analyze()
    add_history(reply, analyzed, MANY)
    return reply


def begin_history(receiver: Receiver, path: str) -> Message:
    """Create a channel and a program that gets its messages. Return the first reply."""
    phone: ApiChannel = ApiChannelFactory()
    ApiChannelFactory(kind="acebot", redirect_url=receiver.url(path), secret=True, watched=phone.default_chat_channel)
    reply = boris_answers(anna_writes(phone))
    WebhookEvent.objects.create(api_channel=phone, body=b"{}", state="processed")
    dispatcher.send_due_deliveries()
    return reply


def add_history(reply: Message, first: int, last: int, *, key: str = "key") -> None:
    """Add chats, numbered from ``first`` to ``last``, each with two messages, deliveries and events."""
    chat, count, number = reply.conversation, last - first, f"n + {first}"
    contact = copies(chat.contact, count, external_id=f"'c' || {number}", phone=f"'+7' || {number}")
    chats = copies(chat, count, contact_id=f"{contact} + n", last_message_at="now() - n * interval '1 second'")
    tickets = copies(Ticket.objects.get(conversation=chat), count, conversation_id=f"{chats} + n")
    copies(ServiceWindow.objects.get(conversation=chat), count, conversation_id=f"{chats} + n", state="'closed'")
    delivery, event = (
        Delivery.objects.get(message=reply, kind="message"),
        WebhookEvent.objects.filter(api_channel=reply.api_channel).earliest("pk"),
    )
    for half in ("a", "b"):
        to_chat = {"conversation_id": f"{chats} + n"}
        external_id, ticket = f"'{half}' || {number}", f"{tickets} + n"
        first_message = copies(reply, count, **to_chat, external_id=external_id, ticket_id=ticket, form_key="''")
        copies(delivery, count, **to_chat, message_id=f"{first_message} + n", key=f"'{key}-{half}' || {number}")
        copies(event, count)


def build_events(channel: ApiChannel, number: int) -> list[WebhookEvent]:
    """Return one event of each client. Half of the clients are in the history, and quote an older message."""
    bodies = [says("?", number=number, who=f"c{client}", quoted_id=f"a{client}") for client in range(BATCH // 2)]
    bodies += [says("?", number=number, who=f"new-{client}") for client in range(BATCH // 2)]
    return [
        WebhookEvent(api_channel=channel, endpoint="webhook", method="POST", body=json.dumps(body).encode())
        for body in bodies
    ]


def handle_messages(first: Message) -> None:
    for number in (0, 1, 1):  # some new clients, an ordinary batch, and repeats
        group_commit._insert_events(build_events(first.api_channel, number))
        processing.process_inbox()
    dispatcher.send_due_deliveries()


def handle_statuses(first: Message) -> None:
    facts = [StatusChanged(status="read", external_id=f"a{number}") for number in range(BATCH)]
    facts += [StatusChanged(status="read", external_id=f"x{n}", key=f"key-b{n}") for n in range(BATCH)]
    message_statuses.apply_statuses(first.api_channel, facts)


def send_replies(first: Message) -> None:
    boris_answers(first.conversation, "Готово")
    dispatcher.send_due_deliveries()


def look_for_work(first: Message) -> None:
    claim_deliveries(uuid.uuid4(), limit=100)
    claim_deliveries(uuid.uuid4(), limit=1, poison=True)
    claims.get_seconds_until_free([policy() for policy in POLICIES])
    service_window.expire_batch()
    processing._find_channels_with_events()
    webhook_inactivity.check_webhook_inactivity()


def scrape_metrics(first: Message) -> None:
    for measure in gauges.GROUPS.values():
        list(measure())


# Half of the history waits for the phone, the other half for a helpdesk; half of each for a retry tomorrow.
QUEUE_SQL = """
UPDATE bridge_delivery SET state = 'pending', finished_at = NULL,
    kind = CASE WHEN key LIKE 'key-a%%' THEN 'message' ELSE 'note' END,
    chat_channel_id = CASE WHEN key LIKE 'key-b%%' THEN %s END,
    next_attempt_at = now() + CASE WHEN id %% 2 = 0 THEN interval '1 day' ELSE interval '-1 hour' END
WHERE key LIKE 'key-%%'
"""
INTERRUPT_SQL = """
UPDATE bridge_delivery SET attempts = 5, next_attempt_at = now() - interval '1 second' WHERE state = 'sending'
"""


class AnyHelpdesk(HelpdeskPolicy):
    """Treats every chat channel as one with a helpdesk."""

    def find_limit_keys(self, ids: Collection[int]) -> Mapping[int, str]:
        return dict.fromkeys(ids, "key")


def claim_from_long_queues(first: Message) -> None:
    assert connection.connection is not None
    with connection.connection.cursor() as unexplained:
        unexplained.execute(QUEUE_SQL, [first.conversation.chat_channel_id])
        for policy in (MessagePolicy(), AnyHelpdesk()):
            assert len(claims.claim_deliveries(policy, uuid.uuid4(), limit=100)) == min(policy.in_flight, 100)
        unexplained.execute(INTERRUPT_SQL)
        for policy in (MessagePolicy(), AnyHelpdesk()):
            assert len(claims.claim_deliveries(policy, uuid.uuid4(), limit=1, poison=True)) == 1


# One conversation has half of the history in line. Its head has been tried, so it is due last.
LONG_LINE_SQL = """
UPDATE bridge_delivery SET state = 'pending', finished_at = NULL, kind = 'message', conversation_id = %(conversation)s,
    next_attempt_at = now() - interval '1 hour'
WHERE key LIKE 'key-a%%'
"""


def claim_from_a_long_conversation(first: Message) -> None:
    assert connection.connection is not None
    with connection.connection.cursor() as unexplained:
        unexplained.execute(LONG_LINE_SQL, {"conversation": first.conversation_id})
        unexplained.execute("SELECT min(id) FROM bridge_delivery WHERE key LIKE 'key-a%'")
        (head,) = unexplained.fetchone()
        unexplained.execute("UPDATE bridge_delivery SET next_attempt_at = now() - interval '1 s' WHERE id = %s", [head])
    claims.long_queues.note(MessagePolicy())
    try:
        claimed = claims.claim_deliveries(MessagePolicy(), uuid.uuid4(), limit=100)
    finally:
        claims.long_queues.until.clear()
    assert [item.delivery.pk for item in claimed] == [head]


def poll(first: Message) -> None:
    chat = Conversation.objects.latest("pk")
    versions.list_version([chat.chat_channel_id], user_id=operator("olga", chat.chat_channel).pk)
    versions.thread_version(chat.pk)


def automate(first: Message) -> None:
    chat = Conversation.objects.latest("pk")
    availability.record_seen(operator("olga", chat.chat_channel).pk)
    ChannelAutomation.objects.create(
        chat_channel=chat.chat_channel,
        assigns_chats=True,
        max_waiting_chats=3,
        returns_after_minutes=5,
        greeting_text="Добрый день!",
    )
    runs.run_automation()


def count_results() -> dict[str, int]:
    return {
        "messages": Message.objects.filter(direction="inbound").count(),
        "events sent": Delivery.objects.filter(kind="event", state="delivered").count(),
        "replies sent": Message.objects.filter(
            pk=Message.objects.latest("pk").pk, status="sent", text="Готово"
        ).count(),
        "read": Message.objects.filter(status="read").count(),
    }


WORK: dict[Callable[[Message], None], dict[str, int]] = {  # and what it must have done
    handle_messages: {"messages": 2 * BATCH, "events sent": 2 * BATCH},
    handle_statuses: {"read": 2 * BATCH},
    send_replies: {"replies sent": 1},
    look_for_work: {},
    scrape_metrics: {},
    claim_from_long_queues: {},
    claim_from_a_long_conversation: {},
    poll: {},
    automate: {},
}


OF_WORKERS = (
    *(handle_messages, handle_statuses, send_replies, look_for_work),
    *(claim_from_long_queues, claim_from_a_long_conversation),
)


def test_statements_read_few_rows_of_large_tables(large: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    # Programs send who writes along with a statement. Other tests may have made this process one of them.
    monkeypatch.setattr(context, "_process", None)
    problems, tables = [], set()
    for work, is_prepared in [*((work, False) for work in WORK), *((work, True) for work in OF_WORKERS)]:
        before, statements = count_results(), Statements(max_rows=MAX_ROWS, max_pages=MAX_PAGES)
        wanted = WORK[work]
        with transaction.atomic():
            with prepares_statements() if is_prepared else nullcontext(), connection.execute_wrapper(statements):
                work(large)
            done = {name: count - before[name] for name, count in count_results().items() if count != before[name]}
            problems += WebhookEvent.objects.exclude(error="").values_list("error", flat=True)[:3]
            transaction.set_rollback(True)
        claims.find_destinations([policy() for policy in POLICIES])  # marks index entries that were rolled back as dead
        assert done == wanted, f"{work.__name__}: {problems}"
        problems += statements.problems
        tables |= statements.tables

    assert problems == [], "\n\n".join(problems)
    assert tables == set(LARGE_TABLES)
