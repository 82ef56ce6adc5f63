"""Faults between the portal and Meta. Meta has no idempotency key, so a repeat must never happen.

The simulator runs next to the stack and posts signed webhooks. Clients write on its phones, the operator answers
through the API. The ledger is the simulator's: which messages it accepted, from whom, how often.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings

from tests.faults.conftest import LEASE, SEED
from tests.faults.provider import call
from tests.faults.stack import CANARY, Stack, eventually
from tests.simulators.behavior import Behavior
from tests.simulators.meta import MetaSimulator
from tests.simulators.wire import as_sent, signature

Say = Callable[[str], None]
Size = Callable[..., int]


@dataclass(kw_only=True)
class Account:
    """A channel of the stack that is connected to the simulator."""

    stack: Stack
    meta: MetaSimulator
    channel: int
    path: str
    secret: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query. ``%s`` is replaced by the channel's ID."""
        return self.stack.rows(query, [self.channel] * query.count("%s"))

    def count(self, query: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {query}")[0][0])

    def chats(self) -> dict[str, int]:
        """Return phone digits -> chat ID."""
        return dict(
            self.rows(
                "SELECT c.external_id, v.id FROM bridge_conversation v JOIN bridge_contact c ON c.id = v.contact_id"
                " WHERE v.api_channel_id = %s"
            )
        )

    def answer(self, chat: int, text: str) -> int:
        """Send an operator's reply. Return the message's ID."""
        body = {"api_token": self.secret, "chat_id": chat, "user_id": self.stack.operator, "text": text}
        said = json.loads(call(self.stack.port, "/uapi/chat/sendMessage", json.dumps(body).encode()).body)
        assert said.get("status") == "success", said
        return int(said["message_id"])

    def finished(self) -> bool:
        return not self.count("bridge_delivery WHERE api_channel_id = %s AND state IN ('pending', 'sending')")

    def statuses(self) -> Counter[str]:
        found = self.rows(
            "SELECT status, count(*) FROM bridge_message WHERE api_channel_id = %s AND direction = 'outbound'"
            " GROUP BY status"
        )
        return Counter(dict(found))


@pytest.fixture
def account(stack: Stack) -> Iterator[Account]:
    with MetaSimulator(seed=SEED, own_media_host=False, behavior=Behavior(retry_seconds=0.3), senders=4) as meta:
        options = {
            "kind": "whatsapp_cloud",
            "name": f"Meta {meta.server.graph.server_address[1]}",
            "chat-channel": f"Meta {meta.server.graph.server_address[1]}",
            "phone-number-id": meta.phone_number_id,
            "waba-id": meta.waba_id,
            "access-token": meta.access_token,
            "app-secret": meta.webhook_sender.app_secret,
            "verify-token": meta.verify_token,
            "base-url": meta.url,
            "output": "json",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, "manage.py", "channel", "add", *words]
        done = subprocess.run(
            command, cwd=settings.BASE_DIR, env=stack.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        path = "/webhooks/" + made["webhook_url"].partition("/webhooks/")[2]
        assert meta.connect(f"http://127.0.0.1:{stack.port}{path}")
        yield Account(stack=stack, meta=meta, channel=made["api_channel"], path=path, secret=made["secret_key"])


@pytest.mark.fault("D42", "a signature over changed white space or order is refused; header case does not matter")
def test_a_signature_is_over_exact_bytes(account: Account, measured: Say) -> None:
    anna = account.meta.phone("447700900101")
    anna.writes(f"{CANARY} 1")
    account.meta.quiet()
    genuine = account.meta.webhook_sender.posted[-1].body
    body = as_sent(json.loads(genuine.replace(b"wamid.", b"wamid.2")))
    right = signature(body, account.meta.webhook_sender.app_secret)
    parsed = json.loads(body)
    changed = {
        "spaces": json.dumps(parsed).encode(),
        "order": as_sent(dict(reversed(parsed.items()))),
        "UTF-8 as it is": json.dumps(parsed, separators=(",", ":"), ensure_ascii=False).encode(),
        "a space at the end": body + b" ",
    }
    before = account.count("bridge_webhookevent WHERE api_channel_id = %s")
    refused = {
        name: call(account.stack.port, account.path, other, [("X-Hub-Signature-256", right)]).status
        for name, other in changed.items()
    }
    written = account.count("bridge_webhookevent WHERE api_channel_id = %s") - before
    taken = [
        call(account.stack.port, account.path, body, [(name, right)]).status
        for name in ("x-hub-signature-256", "X-HUB-SIGNATURE-256")
    ]

    measured(f"changed bytes: {refused}, {written} rows; another case of the header: {taken}")
    assert all(other != body for other in changed.values())
    assert set(refused.values()) == {403}
    assert written == 0
    assert taken == [200, 200]


@pytest.mark.fault(
    "G61", "Meta doubles, shuffles, batches; web and workers die: each message once, in order, none lost"
)
def test_misbehaving_webhooks_are_each_there_once(account: Account, size: Size, measured: Say) -> None:
    clients, each, kills = size(5, 50, fixed=True), size(6, 60), size(2, 20)
    account.meta.behave(double=0.3, reorder=7, batch=3, gather_seconds=0.2)
    start = account.meta.now() - 3_600
    for number in range(each):
        for who in range(clients):
            phone = account.meta.phone(f"4477009{who:05}", name=f"Клиент {who}")
            phone.writes(f"{CANARY} {number}", at=start + number)
        if number % max(each // kills, 1) == 0:
            names = eventually(lambda: sorted(n for n in account.stack.pids() if n.startswith(("web", "worker"))))
            account.stack.kill(names[number % len(names)])
    account.meta.quiet(seconds=180)
    wanted = clients * each
    known = "bridge_message WHERE api_channel_id = %s AND direction = 'inbound'"
    eventually(lambda: account.count(known) >= wanted, seconds=LEASE * 2 + 120)
    eventually(lambda: not account.count("bridge_webhookevent WHERE api_channel_id = %s AND state = 'new'"))

    rows = account.rows(
        "SELECT conversation_id, text FROM bridge_message WHERE api_channel_id = %s AND direction = 'inbound'"
        " ORDER BY conversation_id, provider_time, id"
    )
    lines: dict[int, list[str]] = {}
    for chat, text in rows:
        lines.setdefault(chat, []).append(text)
    said = [f"{CANARY} {number}" for number in range(each)]
    broken = [chat for chat, texts in lines.items() if texts != said]
    posts, answers = (
        len(account.meta.webhook_sender.posted),
        Counter(post.status for post in account.meta.webhook_sender.posted),
    )
    measured(
        f"{wanted} messages of {clients} clients in {posts} POSTs ({dict(answers)}), {account.stack.kills} kills so"
        f" far: {len(rows)} stored in {len(lines)} chats, {len(broken)} chats that differ"
    )
    assert len(lines) == clients
    assert not broken
    assert set(answers) <= {200, 0, 502, 503}


@pytest.mark.fault(
    "G62", "kill -9 after Meta's 200, before the status is written, ×100: none sent twice, each settled by its status"
)
def test_a_death_after_metas_answer_sends_nothing_twice(account: Account, size: Size, measured: Say) -> None:
    deaths = size(2, 100)
    account.meta.behave(delay_statuses=0.2)
    phones = [account.meta.phone(f"4477009{who:05}") for who in range(deaths)]
    for phone in phones:
        phone.writes(f"{CANARY}?")
    eventually(lambda: len(account.chats()) == deaths)
    for number, chat in enumerate(account.chats().values()):
        account.stack.arm("after_200", 1)
        account.answer(chat, f"{CANARY} {number}")
        eventually(lambda: not account.stack.armed("after_200"), seconds=LEASE + 60)
    eventually(lambda: account.statuses()["delivered"] == deaths, seconds=LEASE * 2 + 60)
    eventually(account.finished, seconds=LEASE * 2 + 60)

    got = Counter(len(phone.received) for phone in phones)
    states = dict(account.rows("SELECT state, count(*) FROM bridge_delivery WHERE api_channel_id = %s GROUP BY state"))
    measured(f"{deaths} deaths: {dict(got)} (messages a client got: clients); deliveries {states}")
    assert got == {1: deaths}
    assert states == {"delivered": deaths}


@pytest.mark.fault("C37", "200 with an error in the JSON is a failure by the provider's rule")
def test_an_error_in_a_good_answer(account: Account, measured: Say) -> None:
    phone = account.meta.phone("447700900101")
    phone.writes("?")
    eventually(account.chats)
    account.meta.behave(reject_status=200)
    account.meta.behave(reject=131009, times=1)
    account.answer(next(iter(account.chats().values())), f"{CANARY}!")
    eventually(lambda: account.statuses()["failed"] == 1, seconds=30)

    reason, details = account.rows(
        "SELECT reason, details->>'code' FROM bridge_message WHERE api_channel_id = %s AND direction = 'outbound'"
    )[0]
    measured(f"failed as {reason} with code {details}; {len(account.meta.sent)} sent")
    assert details == "131009"
    assert account.meta.sent == []


@pytest.mark.fault(
    "G63", "131056 and 130429: only that contact or number waits; nothing lost, nothing twice, order kept"
)
def test_meta_says_too_fast(account: Account, size: Size, measured: Say) -> None:
    replies = size(4, 40)
    anna, oleg = (account.meta.phone(f"44770090010{who}") for who in (1, 2))
    for phone in (anna, oleg):
        phone.writes("?")
    eventually(lambda: len(account.chats()) == 2)
    chats = account.chats()
    account.meta.behave(reject=131056, times=1)
    begun = account.meta.now()
    account.answer(chats[anna.number], f"{CANARY} 0")
    eventually(lambda: account.count("bridge_delivery WHERE api_channel_id = %s AND attempts > 0"))
    for number in range(replies):
        account.answer(chats[oleg.number], f"{CANARY} {number}")
    eventually(lambda: len(oleg.received) == replies, seconds=60)
    early = len(anna.received)
    eventually(lambda: len(anna.received) == 1, seconds=120)
    account.meta.behave(reject=130429, times=1)
    for number in range(replies):
        account.answer(chats[oleg.number], f"{CANARY} again {number}")
    eventually(account.finished, seconds=180 + replies * 6)  # our own limit: 45 at once to one contact, then one in 6 s

    texts = [sent.text.removeprefix(CANARY) for sent in oleg.received]
    measured(f"to one contact {early} while the others were served; to the other {len(texts)} in order, none twice")
    assert texts == [f" {number}" for number in range(replies)] + [f" again {number}" for number in range(replies)]
    assert len(anna.received) == 1
    assert anna.received[0].at - begun >= 1  # the shortest backoff after a 131056
