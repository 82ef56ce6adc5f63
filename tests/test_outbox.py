"""The outbox: claims, leases, retries and results, with one worker and with many."""

import base64
import hashlib
import hmac
import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.conversations import message_statuses, tickets
from bridge.maintenance import housekeeping
from bridge.models import Attempt, Delivery, Draft, Message, RateLimit, ServiceWindow
from bridge.outbox import claims, dispatcher, resend, results
from bridge.outbox.attempts import AttemptResult
from bridge.outbox.destinations import POLICIES
from bridge.outbox.destinations.api_channels import ApiChannelPolicy
from bridge.outbox.destinations.messages import MessagePolicy
from channels_setup.models import ApiChannel, UnknownPolicy
from channels_setup.providers.base import Outcome, StatusChanged
from tests.claiming import attempt_delivery, claim_deliveries
from tests.factories import ApiChannelFactory, waits
from tests.receiver import Receiver
from tests.scenarios.concurrency import run_together
from tests.scenarios.sending import anna_writes, boris_answers, create_channel_to, make_deliveries_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def api_channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


def test_an_answer_is_posted_as_a_chat_event_and_becomes_sent(api_channel: ApiChannel, receiver: Receiver) -> None:
    chat = anna_writes(api_channel, text="Заказ готов?")
    reply = boris_answers(chat, "Да, готов 🙌")

    assert dispatcher.send_due_deliveries() == 1

    (request,) = receiver.requests
    event = request.json
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert event["text"] == "Да, готов 🙌"
    assert (event["from"], event["chat_id"], event["message_id"]) == ("user", chat.pk, reply.pk)
    assert event["secret"] == str(api_channel.app_id)
    assert event["client"]["id"] == event["client_id"] == chat.contact_id
    assert event["ticket"]["message"] == "Да, готов 🙌"
    assert event["ticket"]["channel_id"] == chat.chat_channel_id
    reply.refresh_from_db()
    assert reply.status == "sent"
    tried = Attempt.objects.get()
    assert (tried.number, tried.http_status, tried.verdict) == (1, 200, "accepted")


def test_standard_webhooks_headers_authenticate_the_sender(api_channel: ApiChannel, receiver: Receiver) -> None:
    boris_answers(anna_writes(api_channel))
    dispatcher.send_due_deliveries()

    (request,) = receiver.requests
    secret = api_channel.current_secret()
    assert secret
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    wanted = base64.b64encode(hmac.new(secret.reveal().encode(), signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{wanted}"


@pytest.mark.parametrize(("as_json", "utf8"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_two_encoding_options_decide_the_body(
    api_channel: ApiChannel, receiver: Receiver, as_json: bool, utf8: bool
) -> None:
    ApiChannel.objects.update(send_json=as_json, send_utf8=utf8)
    boris_answers(anna_writes(api_channel), "Ёлка & 🙌")
    dispatcher.send_due_deliveries()

    body = receiver.requests[0].body
    assert ("Ёлка".encode() in body) is (as_json and utf8)
    if as_json:
        assert receiver.requests[0].json["text"] == "Ёлка & 🙌"
    else:
        assert receiver.requests[0].form["text"] == (
            "Ёлка & 🙌" if utf8 else "&#1025;&#1083;&#1082;&#1072; &amp; &#128588;"
        )
        assert receiver.requests[0].form["ticket[status_id]"]


def test_a_repeat_carries_the_same_key_and_the_same_body(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=500, times=2)
    reply = boris_answers(anna_writes(api_channel))

    for _ in range(3):
        dispatcher.send_due_deliveries()
        make_deliveries_due()

    keys = {request.headers["webhook-id"] for request in receiver.requests}
    assert len(receiver.requests) == 3
    assert len(keys) == len({request.body for request in receiver.requests}) == 1
    assert [request.headers["okno-attempt"] for request in receiver.requests] == ["1", "2", "3"]
    reply.refresh_from_db()
    assert reply.status == "sent"
    assert [tried.http_status for tried in Attempt.objects.all()] == [500, 500, 200]


def test_a_failed_attempt_waits_as_the_schedule_says(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=500)
    boris_answers(anna_writes(api_channel))
    waited = []

    for _ in range(4):
        dispatcher.send_due_deliveries()
        waited.append(waits(Delivery.objects.get()))
        make_deliveries_due()

    for seconds, planned in zip(waited, MessagePolicy.retry_delays, strict=False):
        assert planned * 0.8 <= seconds <= planned * 1.2 + 5  # and what the try itself and its writing down took


@pytest.mark.parametrize(
    ("status", "headers", "state", "reason", "at_least"),
    [
        (200, {}, "delivered", "", 0),
        (204, {}, "delivered", "", 0),
        (301, {"Location": "/elsewhere"}, "dead", "redirected", 0),
        (307, {"Location": "/elsewhere"}, "dead", "redirected", 0),
        (400, {}, "dead", "rejected", 0),
        (401, {}, "pending", "unauthorized", -1),
        (403, {}, "pending", "unauthorized", -1),
        (404, {}, "dead", "rejected", 0),
        (408, {}, "pending", "destination_error", 3),
        (409, {}, "pending", "destination_error", 3),
        (410, {}, "pending", "gone", -1),
        (413, {}, "dead", "rejected", 0),
        (422, {}, "dead", "rejected", 0),
        (429, {}, "pending", "rate_limited", 59),
        (429, {"Retry-After": "120"}, "pending", "rate_limited", 119),
        (429, {"Retry-After": "99999999"}, "pending", "rate_limited", 3599),
        (429, {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, "pending", "rate_limited", 3),
        (429, {"Retry-After": "soon"}, "pending", "rate_limited", 59),
        (500, {}, "pending", "destination_error", 3),
        (502, {}, "pending", "destination_error", 59),
        (503, {}, "pending", "destination_error", 59),
        (504, {}, "pending", "destination_error", 59),
    ],
)
def test_each_response_is_classified(
    api_channel: ApiChannel,
    receiver: Receiver,
    status: int,
    headers: dict[str, str],
    state: str,
    reason: str,
    at_least: float,
) -> None:
    receiver.answer("/hook", status=status, headers=headers, body=b"" if status == 204 else b"{}")
    boris_answers(anna_writes(api_channel))

    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == (state, reason)
    assert [request.path for request in receiver.requests] == ["/hook"]
    if state == "pending":
        assert waits(delivery) >= at_least


def test_a_dead_message_notifies_the_operator_and_can_be_resent(api_channel: ApiChannel, receiver: Receiver) -> None:
    receiver.answer("/hook", status=400, times=1)
    reply = boris_answers(anna_writes(api_channel))
    dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    notice = Message.objects.get(direction="notice")
    assert (reply.status, reply.reason) == ("failed", "rejected")
    assert notice.reason == "not_delivered"
    assert str(notice.sentence).count(".") >= 1

    assert resend.resend_deliveries(Delivery.objects.get().pk)
    dispatcher.send_due_deliveries()
    reply.refresh_from_db()
    assert reply.status == "sent"


def test_an_unreachable_destination_is_tried_again(api_channel: ApiChannel) -> None:
    ApiChannel.objects.update(redirect_url="http://127.0.0.1:9/closed")
    boris_answers(anna_writes(api_channel))
    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == ("pending", "cannot_connect")


# --- unknown ---------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels_setup.http_client.concurrent_calls.DEADLINE_SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_an_attempt_without_a_response_is_repeated_with_the_same_key(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    receiver.answer("/hook", delay=0.6, times=1)
    boris_answers(anna_writes(api_channel))

    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == ("pending", "outcome_unknown")
    make_deliveries_due()
    dispatcher.send_due_deliveries()
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


@pytest.mark.usefixtures("impatient")
def test_with_the_ask_policy_an_unknown_outcome_waits_for_an_operator(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    ApiChannel.objects.update(on_unknown=UnknownPolicy.ASK)
    receiver.answer("/hook", delay=0.6, times=1)
    reply = boris_answers(anna_writes(api_channel))

    dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    assert reply.status == "unknown"
    assert Delivery.objects.get().state == "unknown"
    message_statuses.apply_statuses(api_channel, [StatusChanged(status="delivered", message_id=reply.pk)])
    reply.refresh_from_db()
    assert reply.status == "delivered"


@pytest.mark.usefixtures("impatient")
def test_a_status_before_the_response_settles_the_delivery(api_channel: ApiChannel, receiver: Receiver) -> None:
    ApiChannel.objects.update(on_unknown=UnknownPolicy.ASK)
    receiver.answer("/hook", delay=0.6, times=1)
    reply = boris_answers(anna_writes(api_channel))
    token = uuid.uuid4()
    [claimed] = claim_deliveries(token, limit=1)
    tried = attempt_delivery(claimed, token)

    message_statuses.apply_statuses(api_channel, [StatusChanged(status="delivered", message_id=reply.pk)])
    results.record_attempts([tried], token)

    reply.refresh_from_db()
    delivery = Delivery.objects.get()
    assert reply.status == "delivered"
    assert (delivery.state, delivery.reason, delivery.lease_token) == ("delivered", "", None)
    assert not Message.objects.filter(direction=Message.Direction.NOTICE).exists()


# --- the window, looked at again -------------------------------------------------------------------------


def test_an_interrupted_attempt_stays_unknown_when_its_window_closes(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    reply = boris_answers(anna_writes(api_channel))
    claim_deliveries(uuid.uuid4(), limit=1)  # by a worker that dies
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=24), expires_at=timezone.now())

    dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    assert receiver.requests == []
    assert (reply.status, Delivery.objects.get().state) == ("unknown", "unknown")
    assert not Draft.objects.exists()


def test_a_reply_is_canceled_when_its_window_closes(api_channel: ApiChannel, receiver: Receiver) -> None:
    chat = anna_writes(api_channel)
    reply = boris_answers(chat, "Приезжайте завтра")
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=24), expires_at=timezone.now())

    dispatcher.send_due_deliveries()

    reply.refresh_from_db()
    assert receiver.requests == []
    assert (reply.status, reply.reason) == ("failed", "window_closed_before_sending")
    assert Draft.objects.get().text == "Приезжайте завтра"
    assert Message.objects.get(direction="notice").reason == "not_delivered"


def test_a_reply_waiting_for_a_retry_is_canceled_when_the_window_closes(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    receiver.answer("/hook", status=503)
    boris_answers(anna_writes(api_channel))
    dispatcher.send_due_deliveries()
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=24), expires_at=timezone.now())

    housekeeping.expire_windows()

    assert Delivery.objects.get().state == "cancelled"
    assert Message.objects.get(direction="outbound").status == "failed"


def test_a_new_client_message_sends_the_waiting_reply(api_channel: ApiChannel, receiver: Receiver) -> None:
    boris_answers(anna_writes(api_channel))
    ServiceWindow.objects.update(opened_at=F("opened_at") - timedelta(hours=24), expires_at=timezone.now())
    anna_writes(api_channel, text="Алло?")

    dispatcher.send_due_deliveries()

    assert Delivery.objects.get(kind="message").state == "delivered"


# --- events for watchers --------------------------------------------------------------------------


def tracked_events(receiver: Receiver, path: str) -> list[tuple[str, str, str | None]]:
    return [
        (event["from"], event["text"], event["state"])
        for request in receiver.requests
        if request.path == path and "chat_id" in (event := request.json)
    ]


@pytest.mark.parametrize(
    ("ticked", "wanted"),
    [
        ({"track_message"}, [("client", "раз", "new"), ("user", "Да", None), ("client", "два", "reopened")]),
        ({"track_new_chat"}, [("client", "раз", "new")]),
        ({"track_resumed"}, [("client", "два", "reopened")]),
        ({"track_new_chat", "track_resumed"}, [("client", "раз", "new"), ("client", "два", "reopened")]),
        (set(), []),
    ],
)
def test_a_watcher_gets_copies_of_the_events_that_it_tracks(
    api_channel: ApiChannel, receiver: Receiver, ticked: set[str], wanted: list[tuple[str, str, str | None]]
) -> None:
    watcher = ApiChannelFactory(
        kind="acebot",
        redirect_url=receiver.url("/copy"),
        watched=list(api_channel.watched.all()),
        secret=True,
        copy_replies=True,
    )
    flags = {f"track_{name}": f"track_{name}" in ticked for name in ApiChannel.EVENT_KINDS}
    ApiChannel.objects.filter(pk=watcher.pk).update(**flags)

    chat = anna_writes(api_channel, text="раз")
    boris_answers(chat)
    ticket = tickets.get_current_ticket(chat)
    assert ticket
    tickets.set_ticket_status(ticket.pk, status=3)
    anna_writes(api_channel, text="два")
    dispatcher.send_due_deliveries()

    assert tracked_events(receiver, "/copy") == wanted
    assert tracked_events(receiver, "/hook") == [("user", "Да", None)]


def test_request_events_have_the_documented_shapes(api_channel: ApiChannel, receiver: Receiver) -> None:
    flags = {f"track_{name}": name in ("new_ticket", "comment", "change") for name in ApiChannel.EVENT_KINDS}
    ApiChannel.objects.update(**flags)
    chat = anna_writes(api_channel, text="раз")
    boris_answers(chat, "<b>Да</b>\nприехал")
    ticket = tickets.get_current_ticket(chat)
    assert ticket
    tickets.set_ticket_status(ticket.pk, status=2)
    dispatcher.send_due_deliveries()

    bodies = [request.json for request in receiver.requests]
    new, change = (next(body for body in bodies if name in body) for name in ("ticket", "trigger"))
    said, comment = (body for body in bodies if "comment" in body)
    assert (said["comment"]["from"], said["comment"]["message"]) == ("client", "<p>раз</p>")
    assert new["ticket"]["id"] == ticket.pk
    assert comment["comment"]["message"] == "<p>&lt;b&gt;Да&lt;/b&gt;<br>приехал</p>"
    assert (comment["comment"]["from"], comment["comment"]["ticket_id"]) == ("user", ticket.pk)
    assert change["trigger"]["data"] == [{"target": "status_id", "value": 2, "old_value": 1}]


# --- long queues -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_claim_by_conversations_takes_what_an_ordinary_one_takes(api_channel: ApiChannel) -> None:
    for number in range(30):
        for _part in range(number % 3 + 1):
            boris_answers(anna_writes(api_channel, who=f"client-{number}"))
    messages = Delivery.objects.filter(kind="message")
    for delivery in messages:  # heads that have been tried, that wait, that another worker sends, and that are finished
        state, seconds = [("pending", -9), ("pending", 9), ("sending", 60), ("delivered", 0)][delivery.pk * 7 % 4]
        token = uuid.uuid4() if state == "sending" else None
        due = timezone.now() + timedelta(seconds=seconds)
        messages.filter(pk=delivery.pk).update(state=state, next_attempt_at=due, lease_token=token)

    def claim() -> list[int]:
        with transaction.atomic():
            claimed = claims.claim_deliveries(MessagePolicy(), uuid.uuid4(), limit=100)
            transaction.set_rollback(True)
        return [item.delivery.pk for item in claimed]

    ordinary = claim()
    claims.long_queues.note(MessagePolicy())
    try:
        by_conversation = claim()
    finally:
        claims.long_queues.until.clear()

    assert by_conversation == ordinary
    assert ordinary


def test_slow_claims_go_through_conversations_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    queues, now = claims.LongQueues(), [100.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    policy = MessagePolicy()
    seen = [queues.choose_candidates(policy)]

    for step in ("slow", "later", "slow", "slow again"):
        if step == "later":
            now[0] += claims.LONG_QUEUE_SECONDS + 1
        else:
            queues.note(policy)
        seen.append(queues.choose_candidates(policy))

    assert seen == ["deliveries", "heads", "deliveries", "heads", "deliveries"]


# --- many workers ----------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.django_db(transaction=True)
def test_two_workers_never_claim_one_delivery(api_channel: ApiChannel) -> None:
    for number in range(40):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"))

    def claim_all() -> list[int]:
        token, mine = uuid.uuid4(), []
        while claimed := claim_deliveries(token, limit=3):
            mine += [item.delivery.pk for item in claimed]
        return mine

    first, second = run_together(claim_all, claim_all)

    # What both skipped at the last moment is due at the next look; never is one taken twice.
    assert not set(first) & set(second)
    assert len(first) + len(second) <= ApiChannelPolicy.in_flight + 6


@pytest.mark.exhaustive
@pytest.mark.django_db(transaction=True)
def test_two_workers_deliver_every_message_once_and_in_order(api_channel: ApiChannel, receiver: Receiver) -> None:
    chats = [anna_writes(api_channel, who=f"client-{number}") for number in range(10)]
    for number in range(5):
        for chat in chats:
            boris_answers(chat, f"{chat.pk}:{number}")

    run_together(dispatcher.send_due_deliveries, dispatcher.send_due_deliveries)
    dispatcher.send_due_deliveries()

    texts = [request.json["text"] for request in receiver.requests]
    assert len(texts) == len(set(texts)) == 50
    for chat in chats:
        mine = [text for text in texts if text.startswith(f"{chat.pk}:")]
        assert mine == [f"{chat.pk}:{number}" for number in range(5)]


@pytest.mark.django_db(transaction=True)
def test_a_dead_workers_lease_expires_and_its_late_result_is_refused(
    api_channel: ApiChannel, receiver: Receiver
) -> None:
    boris_answers(anna_writes(api_channel))
    dead = uuid.uuid4()
    (stale,) = claim_deliveries(dead, limit=5)
    assert dispatcher.send_due_deliveries() == 0  # leased

    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    assert dispatcher.send_due_deliveries() == 1

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    late = AttemptResult(
        claimed=stale,
        outcome=Outcome(verdict="permanent", reason="rejected"),
        started_at=timezone.now(),
        duration_ms=1,
    )
    results.record_attempts([late], dead)
    assert Delivery.objects.get().state == "delivered"
    assert Message.objects.get(direction="outbound").status == "sent"


def test_a_delivery_that_crashed_two_workers_is_attempted_alone(api_channel: ApiChannel, receiver: Receiver) -> None:
    for who in ("anna", "client-2"):
        boris_answers(anna_writes(api_channel, who=who))
    for _ in range(2):  # two workers claim both and die
        assert len(claim_deliveries(uuid.uuid4(), limit=5)) == 2
        Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    assert claim_deliveries(uuid.uuid4(), limit=5) == []
    assert len(claim_deliveries(uuid.uuid4(), limit=1, poison=True)) == 1
    assert dispatcher.send_due_deliveries() == 1
    assert [request.headers["okno-attempt"] for request in receiver.requests] == ["3"]


def test_a_poison_message_fails_and_the_operator_is_notified(api_channel: ApiChannel, receiver: Receiver) -> None:
    reply = boris_answers(anna_writes(api_channel))
    for tries in range(1, len(MessagePolicy.retry_delays) + 2):
        is_poison = tries > claims.MAX_WORKER_CRASHES
        assert len(claim_deliveries(uuid.uuid4(), limit=1, poison=is_poison)) == 1, tries
        Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get()
    reply.refresh_from_db()
    assert (delivery.state, delivery.reason, reply.status) == ("dead", "retries_exhausted", "failed")
    assert Message.objects.get(direction="notice").reason == "not_delivered"
    assert receiver.requests == []


def test_a_destination_has_a_limit_of_calls_in_flight(api_channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiChannelPolicy, "in_flight", 4)
    for number in range(10):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"))

    assert len(claim_deliveries(uuid.uuid4(), limit=50)) == 4
    assert claim_deliveries(uuid.uuid4(), limit=50) == []


@pytest.mark.exhaustive
def test_a_busy_destination_does_not_delay_another(
    api_channel: ApiChannel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ApiChannelPolicy, "in_flight", 6)
    other = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/other"), secret=True)
    for number in range(ApiChannelPolicy.in_flight * 8):
        boris_answers(anna_writes(api_channel, who=f"client-{number}"))
    boris_answers(anna_writes(other))

    claimed = claim_deliveries(uuid.uuid4(), limit=ApiChannelPolicy.in_flight * 2)

    assert other.pk in {item.delivery.api_channel_id for item in claimed if item.delivery.kind == "message"}


def test_claims_do_not_read_deliveries_that_wait_for_a_retry(api_channel: ApiChannel) -> None:
    """A hundred thousand that wait for tomorrow would be passed one by one, several times a second."""
    message = boris_answers(anna_writes(api_channel))
    tomorrow = timezone.now() + timedelta(days=1)
    Delivery.objects.bulk_create(
        Delivery(
            kind=Delivery.Kind.EVENT,
            api_channel=api_channel,
            conversation=message.conversation,
            payload={},
            next_attempt_at=tomorrow,
        )
        for _number in range(3_000)
    )
    RateLimit.objects.create(
        api_channel=api_channel,
        key="account",
        every=60,
        burst=100,
        whole_channel=True,
        met_at=timezone.now() + timedelta(seconds=30),
    )
    with CaptureQueriesContext(connection) as captured:
        claims.get_seconds_until_free([policy() for policy in POLICIES])
        claim_deliveries(uuid.uuid4(), limit=5, poison=True)
        claim_deliveries(uuid.uuid4(), limit=5)
    asked = [query["sql"] for query in captured.captured_queries if "next_attempt_at" in query["sql"]]

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE bridge_delivery")
        for statement in asked:
            cursor.execute(f"EXPLAIN ANALYZE {statement}")
            plan = "\n".join(row[0] for row in cursor.fetchall())

            assert not re.search(r"Rows Removed by Filter: \d{3}", plan), plan
    assert len(asked) == 14  # limits; poison messages and due ones of six policies; one claim


class RunningCalls:
    """Fake RunningExchanges: each wait returns the next number of results, and then none."""

    def __init__(self, *waits: int) -> None:
        self.waits = list(waits)

    def __len__(self) -> int:
        return sum(self.waits)

    def wait(self, _seconds: float, *, watch: object) -> list[str]:
        return ["result"] * (self.waits.pop(0) if self.waits else 0)


@pytest.mark.parametrize(
    ("waits", "batches"),
    [
        ((1, 2, 1), [4]),
        ((1, 1, 0, 1), [2, 1]),  # a pause, or a wake-up
        ((20, 20, 20), [40, 20]),
    ],
)
def test_results_in_quick_succession_are_saved_in_one_transaction(
    monkeypatch: pytest.MonkeyPatch, waits: tuple[int, ...], batches: list[int]
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(dispatcher, "RESULT_BATCH_SECONDS", 60.0)
    monkeypatch.setattr(results, "save_results", lambda done, _token: saved.append(len(done)))
    drain = dispatcher.Drain(None, None)
    drain.running = RunningCalls(*waits)  # type: ignore[assignment]

    while drain.running:
        drain._save_finished()

    assert saved == batches
