"""Ledger: the check after every run, L1-L8 of the plan. ``complaints`` lists violated guarantees."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.faults.provider import FakeProvider, digest
from tests.faults.stack import CANARY, PHONE, Shop, Stack

IN_FLIGHT = 8  # calls that one kill may interrupt between the response and its record: the plan's figure

# A broken connection to PostgreSQL or Valkey, a killed child: effects of the faults themselves.
EXPECTED_ERRORS = re.compile(
    r"OperationalError|InterfaceError|AdminShutdown|ConnectionError|ConnectionResetError|ConnectionRefusedError"
    r"|TimeoutError|BrokenPipe|OutOfMemoryError|ResponseError|SchedulingError|WorkerLostError|SystemExit|OSError"
    # from kombu, about a channel whose connection it has just closed (transport/redis.py, _connparams)
    r"|AttributeError: 'NoneType' object has no attribute 'hostname'"
)


@dataclass
class Ledger:
    accepted: int = 0
    delivered: int = 0
    repeats: int = 0
    inversions: int = 0
    complaints: list[str] = field(default_factory=list)

    def demand(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)

    @property
    def words(self) -> str:
        found = f"{self.accepted} accepted, {self.delivered} delivered, {self.repeats} repeats, "
        times = Counter(self.complaints)
        lines = (line if count == 1 else f"{line} ({count} times)" for line, count in times.items())
        return found + f"{self.inversions} out of order" + "".join(f"; {line}" for line in lines)


def check(stack: Stack, provider: FakeProvider, *, kills: int = 0) -> Ledger:
    """Check all guarantees after ``quiesce``. ``kills`` limits the number of repeats."""
    shop = provider.shop
    ledger = Ledger(accepted=len(provider.accepted))
    ledger.demand(not provider.unsent, f"{len(provider.unsent)} never accepted")
    ledger.demand(not provider.refused, f"{len(provider.refused)} refused, such as {provider.refused[:1]}")
    stored(stack, shop, provider, ledger)
    rows = stack.rows(
        "SELECT d.key, d.conversation_id, d.kind, d.id, d.state FROM bridge_delivery d"
        " WHERE d.api_channel_id = %s ORDER BY d.id",
        [shop.poster],
    )
    states = Counter(row[4] for row in rows)
    messages = stack.one(
        "SELECT count(*) FROM bridge_message WHERE api_channel_id IN (%s, %s) AND direction <> 'notice'",
        [shop.phone, shop.poster],
    )
    ledger.demand(len(rows) == messages, f"L2: {messages} messages have {len(rows)} deliveries")
    ledger.demand(set(states) <= {"delivered"}, f"L2: deliveries are {dict(states)}")
    received(stack, shop, rows, ledger, kills=kills)
    in_order(stack, shop, rows, ledger)
    leased = stack.one(
        "SELECT count(*) FROM bridge_delivery WHERE lease_token IS NOT NULL AND api_channel_id = %s", [shop.poster]
    )
    ledger.demand(leased == 0, f"L6: {leased} rows still leased")
    ledger.demand(not provider.statuses[500], f"L7: {provider.statuses[500]} answers of 500")
    logs(stack, shop, ledger)
    return ledger


def stored(stack: Stack, shop: Shop, provider: FakeProvider, ledger: Ledger) -> None:
    """Check L1: every accepted event and message is stored exactly once."""
    accepted = provider.accepted.values()
    bodies = stack.rows("SELECT body FROM bridge_webhookevent WHERE api_channel_id = %s", [shop.phone])
    events = {digest(bytes(body)) for (body,) in bodies}
    wanted = {digest(post.body) for post in accepted if post.path == shop.phone_path}
    ledger.demand(wanted <= events, f"L1: {len(wanted - events)} accepted events are not stored")
    names = stack.rows(
        "SELECT external_id FROM bridge_message WHERE direction = 'inbound' AND api_channel_id IN (%s, %s)",
        [shop.phone, shop.poster],
    )
    known = {name for (name,) in names}
    clients = {post.id for post in accepted if not post.path.endswith("sendMessage")}
    ledger.demand(clients <= known, f"L1: {len(clients - known)} accepted messages are lost")
    ledger.demand(len(names) == len(known), f"L1: {len(names) - len(known)} messages are stored twice")
    replies = stack.one(
        "SELECT count(*) FROM bridge_message WHERE direction = 'outbound' AND api_channel_id = %s", [shop.poster]
    )
    reply_count = sum(1 for post in accepted if post.path.endswith("sendMessage"))
    ledger.demand(replies == reply_count, f"L1: {reply_count} replies accepted, {replies} stored")


def received(stack: Stack, shop: Shop, rows: list[tuple[Any, ...]], ledger: Ledger, *, kills: int) -> None:
    """Check L3 and L4: the receiver got every delivered key; a repeat has a known key and the same body."""
    taken = stack.receiver.taken(shop.path)
    delivered = {row[0] for row in rows if row[4] == "delivered"}
    ledger.delivered = len(taken)
    ledger.demand(set(taken) == delivered, f"L3: {len(set(taken) ^ delivered)} keys differ from the delivered rows")
    bodies: dict[str, set[str]] = defaultdict(set)
    for got in stack.receiver.on(shop.path):
        bodies[got.key].add(got.digest)
    answered = [got for got in stack.receiver.on(shop.path) if 200 <= got.answered < 300]
    ledger.repeats = len(answered) - len(taken)
    differing = sum(1 for digests in bodies.values() if len(digests) > 1)
    ledger.demand(differing == 0, f"L4: {differing} keys came with different bodies")
    most = kills * IN_FLIGHT
    ledger.demand(ledger.repeats <= most, f"L4: {ledger.repeats} repeats, at most {kills} × {IN_FLIGHT} may be")


def in_order(stack: Stack, shop: Shop, rows: list[tuple[Any, ...]], ledger: Ledger) -> None:
    """Check L5: within each conversation and kind, the first deliveries arrived in the stored order."""
    taken = stack.receiver.taken(shop.path)
    last: dict[tuple[int, str], float] = {}
    for key, conversation, kind, _pk, _state in rows:
        if key in taken:
            ledger.inversions += taken[key].at < last.get((conversation, kind), 0.0)
            last[conversation, kind] = taken[key].at
    ledger.demand(ledger.inversions == 0, f"L5: {ledger.inversions} out of order")


def logs(stack: Stack, shop: Shop, ledger: Ledger) -> None:
    """Check L7 and L8: no traceback except those of the faults; no secret, phone number or client's text in a log."""
    for name, text in stack.logs(since=shop).items():
        for canary in (CANARY, PHONE, PHONE[1:], shop.secret, json_escaped(CANARY)):
            ledger.demand(canary not in text, f"L8: {name} shows a text, phone or secret")
        for trace in text.split("Traceback (most recent call last):")[1:]:
            last = next((line for line in trace.splitlines()[1:] if line and not line[0].isspace()), "")
            if last.startswith("billiard.einfo."):
                continue  # the wrapping of a child's traceback, which follows
            ledger.demand(bool(EXPECTED_ERRORS.search(last)), f"L7: {name}: {last[:120]}")


def json_escaped(text: str) -> str:
    return text.encode("unicode_escape").decode()
