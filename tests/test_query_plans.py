"""Statements of the message flow read few rows of large tables, whatever PostgreSQL's statistics say.

A table grows before autovacuum analyzes it, and statistics can be wrong. So each statement is explained on tables that
were never analyzed, and on tables with statistics that are no longer true.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from bridge import service_window
from bridge.channel_health import webhook_inactivity
from bridge.conversations import receiving
from bridge.inbox import processing
from bridge.models import Delivery, ServiceWindow, Ticket, WebhookEvent
from bridge.outbox import claims, dispatcher
from bridge.outbox.destinations import POLICIES
from channels_setup.models import ApiChannel
from tests.claiming import claim_deliveries
from tests.factories import ApiChannelFactory, copies
from tests.receiver import Receiver
from tests.scenarios.sending import anna_writes, boris_answers

pytestmark = pytest.mark.django_db

MANY = 6_000  # chats; twice as many messages, deliveries and events
BATCH = 120  # more than the 100 IDs that the planner compares with the condition of a partial index
ROWS_PER_KEY = 6
PAGES_PER_KEY = 30
PAGES_PER_STATEMENT = 300
LARGE_TABLES = ("contact", "conversation", "ticket", "servicewindow", "message", "delivery", "webhookevent")


class Statements:
    """Explains each statement in a savepoint before it runs, and collects those that read too much."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.tables: set[str] = set()  # those that a statement read or changed

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip()[:6].upper() in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH O") and "_lock" not in sql:
            self.explain(sql, params)
        return execute(sql, params, many, context)

    def explain(self, sql: str, params: Any) -> None:
        assert connection.connection is not None
        with connection.connection.cursor() as cursor:
            cursor.execute("SAVEPOINT explained")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
            [found] = cursor.fetchone()[0]
            cursor.execute("ROLLBACK TO explained")
        plan = found["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        problems = [problem for node in walk(plan) if (problem := self.judge(node))]
        if plan["Node Type"] != "ModifyTable" and pages > PAGES_PER_STATEMENT + PAGES_PER_KEY * BATCH:
            problems.append(f"{pages} pages")
        if problems:
            self.problems.append(f"{problems}\n{sql[:1500]}")

    def judge(self, node: dict[str, Any]) -> str:
        table = node.get("Relation Name", "").removeprefix("bridge_")
        if table in LARGE_TABLES:
            self.tables.add(table)
            if node["Node Type"] == "Seq Scan":
                return f"Seq Scan on {table}"
        elif "Index Name" not in node:
            return ""
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
        return f"{node['Node Type']} of {rows:.0f} rows in {table}" if rows > ROWS_PER_KEY * BATCH else ""


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from walk(part)


@contextmanager
def explained() -> Iterator[Statements]:
    """Fail if a statement of the block reads much of a large table."""
    statements = Statements()
    with connection.execute_wrapper(statements):
        yield statements
    assert statements.problems == [], "\n\n".join(statements.problems)


@pytest.fixture
def phone() -> ApiChannel:
    return ApiChannelFactory()


@pytest.fixture
def watcher(phone: ApiChannel, receiver: Receiver) -> ApiChannel:
    """A program that gets every message of the phone."""
    return ApiChannelFactory(
        kind="acebot", redirect_url=receiver.url("/hook"), secret=True, watched=phone.default_chat_channel
    )


@pytest.fixture(params=["never analyzed", "analyzed when small"])
def large(phone: ApiChannel, watcher: ApiChannel, request: pytest.FixtureRequest) -> ApiChannel:
    """Return the phone, with a long history in it."""
    chat = anna_writes(phone)
    reply = boris_answers(chat, "Да")
    WebhookEvent.objects.create(api_channel=phone, body=b"{}", state="processed")
    if request.param == "analyzed when small":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    contact = copies(chat.contact, MANY, external_id="'c' || n", phone="'+7' || n")
    chats = copies(chat, MANY, contact_id=f"{contact} + n", last_message_at="now() - n * interval '1 second'")
    there = f"{chats} + n / 2"
    ticket = copies(Ticket.objects.get(), MANY, conversation_id=f"{chats} + n")
    messages = copies(
        reply, 2 * MANY, conversation_id=there, external_id="'wamid-' || n", status="'sent'", form_key="''",
        ticket_id=f"{ticket} + n / 2",
    )  # fmt: skip
    copies(
        Delivery.objects.filter(kind="message").get(), 2 * MANY, conversation_id=there, message_id=f"{messages} + n",
        key="'key-' || n", state="'delivered'",
    )  # fmt: skip
    copies(ServiceWindow.objects.get(), MANY, conversation_id=f"{chats} + n", state="'closed'")
    copies(WebhookEvent.objects.get(), 2 * MANY)
    dispatcher.send_due_deliveries()
    return phone


def test_look_ups_by_provider_ids_read_few_rows(large: ApiChannel) -> None:
    with explained() as statements:
        found = receiving.find_by_external_id(large, [f"wamid-{number}" for number in range(BATCH)] + ["unknown", ""])

    assert len(found) == BATCH
    assert statements.tables == {"message", "conversation"}


def test_periodic_work_reads_few_rows(large: ApiChannel) -> None:
    with explained():
        claim_deliveries(uuid.uuid4(), limit=100)
        claim_deliveries(uuid.uuid4(), limit=1, poison=True)
        claims.get_seconds_until_free([policy() for policy in POLICIES])
        service_window.expire_batch()
        processing._find_channels_with_events()
        webhook_inactivity.check_webhook_inactivity()
