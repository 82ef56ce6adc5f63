"""Meta simulator: webhooks, faults, account calls, control API."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.receiver import Receiver
from tests.simulators.behavior import Behavior
from tests.simulators.calling import ANNA, HELLO, call, changes, code, get, send, values
from tests.simulators.meta import MetaSimulator
from tests.simulators.phones import Phone
from tests.simulators.wire import signature

QUICK = Behavior(retry_seconds=0.02, gather_seconds=0.05)


def test_a_clients_message_is_posted_with_a_signature_of_its_bytes(meta: MetaSimulator, receiver: Receiver) -> None:
    wamid = meta.phone(ANNA, name="Анна").writes("Здравствуйте! Счёт 1/2 👢", reply_to="wamid.ours")

    (request,) = receiver.wait_for(1)
    value = request.json["entry"][0]["changes"][0]["value"]
    message = value["messages"][0]
    assert request.headers["x-hub-signature-256"] == signature(request.body, meta.webhook_sender.app_secret)
    assert b"\\u0417\\u0434" in request.body and b"1\\/2" in request.body
    assert value["metadata"]["phone_number_id"] == meta.phone_number_id
    assert (message["id"], message["from"], message["type"]) == (wamid, ANNA, "text")
    assert message["context"]["id"] == "wamid.ours"
    assert message["timestamp"].isdigit()
    assert value["contacts"][0]["profile"] == {"name": "Анна"}
    assert value["contacts"][0]["user_id"] == message["from_user_id"]


@pytest.mark.parametrize("status", [500, 503, 404, 201, 204, 302])
def test_a_post_without_a_200_is_repeated_with_the_same_bytes(
    meta: MetaSimulator, receiver: Receiver, status: int
) -> None:
    receiver.answer("/hook", status=status, body=b"", times=2)

    meta.phone(ANNA).writes("раз")
    meta.quiet()

    bodies = [request.body for request in receiver.requests]
    assert bodies == [bodies[0]] * 3
    assert [posted.status for posted in meta.webhook_sender.posted] == [status, status, 200]


def test_a_post_waiting_for_its_retry_does_not_delay_others(meta: MetaSimulator, receiver: Receiver) -> None:
    meta.behave(retry_seconds=1.5)
    receiver.answer("/hook", status=500, times=1)

    ids = [meta.phone(ANNA).writes("раз"), meta.phone(ANNA).writes("два")]
    meta.quiet()

    assert [message["id"] for message in values(receiver, "messages")] == [ids[0], ids[1], ids[0]]


def test_a_batch_contains_many_updates_and_all_contact_cards(meta: MetaSimulator, receiver: Receiver) -> None:
    meta.behave(batch=5, gather_seconds=10)

    for number in range(4):
        meta.phone(f"44770090010{number}", name=f"Клиент {number}").writes(str(number))
    meta.send_account_update("account_review_update", {"decision": "APPROVED"})
    meta.quiet()

    assert len(receiver.requests) == 1
    assert [message["text"]["body"] for message in values(receiver, "messages")] == ["0", "1", "2", "3"]
    assert len(values(receiver, "contacts")) == 4
    assert [change["field"] for change in changes(receiver)] == ["messages", "account_review_update"]


def test_a_thousand_updates_fit_into_one_post(meta: MetaSimulator, receiver: Receiver) -> None:
    meta.behave(batch=1000, gather_seconds=30)
    anna = meta.phone(ANNA)

    for number in range(1000):
        anna.writes(str(number))
    meta.quiet()

    assert [len(request.json["entry"][0]["changes"]) for request in receiver.requests] == [1]
    assert len(values(receiver, "messages")) == 1000


def test_a_doubled_post_arrives_twice(meta: MetaSimulator, receiver: Receiver) -> None:
    meta.behave(double=1, times=1)

    ids = [meta.phone(ANNA).writes(text) for text in ("раз", "два")]
    meta.quiet()

    assert [message["id"] for message in values(receiver, "messages")] == [ids[0], ids[0], ids[1]]


def test_the_same_seed_reorders_updates_the_same_way(receiver: Receiver) -> None:
    orders = []
    for _ in range(2):
        receiver.requests.clear()
        with MetaSimulator(webhook_url=receiver.url("/hook"), seed=42, behavior=QUICK) as meta:
            meta.behave(reorder=8, gather_seconds=10)
            for number in range(8):
                meta.phone(ANNA).writes(str(number))
            meta.quiet()
            orders.append([message["text"]["body"] for message in values(receiver, "messages")])

    assert orders[0] == orders[1] != sorted(orders[0])
    assert sorted(orders[0]) == [str(number) for number in range(8)]


def test_a_dropped_post_never_arrives(meta: MetaSimulator, receiver: Receiver) -> None:
    meta.behave(drop=1, times=1)

    meta.phone(ANNA).writes("потеряно")
    meta.quiet()
    meta.phone(ANNA).writes("пришло")
    meta.quiet()

    assert [message["text"]["body"] for message in values(receiver, "messages")] == ["пришло"]


@pytest.mark.parametrize("how", ["wrong", "none", "sha1"])
def test_a_wrong_signature_is_correct_on_the_retry(meta: MetaSimulator, receiver: Receiver, how: str) -> None:
    receiver.answer("/hook", status=403, times=1)
    meta.behave(sign=how, times=1)

    meta.phone(ANNA).writes("раз")
    meta.quiet()

    first, second = (request.headers for request in receiver.requests)
    right = signature(receiver.requests[0].body, meta.webhook_sender.app_secret)
    assert first.get("x-hub-signature-256") != right
    assert ("x-hub-signature" in first) == (how == "sha1")
    assert second["x-hub-signature-256"] == right


def test_the_callback_url_must_return_the_challenge(meta: MetaSimulator, receiver: Receiver) -> None:
    receiver.answer("/other", body=b"no")

    assert not meta.connect(receiver.url("/other"))
    meta.phone(ANNA).writes("в никуда")

    request = receiver.requests[0]
    assert request.method == "GET"
    assert "hub.mode=subscribe" in request.path and "hub.verify_token=verify-token" in request.path
    assert all(request.method == "GET" for request in receiver.requests)


def test_an_account_without_subscription_posts_no_webhooks(meta: MetaSimulator, receiver: Receiver) -> None:
    call(meta, f"{meta.waba_id}/subscribed_apps", method="DELETE")
    meta.phone(ANNA).writes("?")
    none = get(meta, f"{meta.waba_id}/subscribed_apps").json()
    call(meta, f"{meta.waba_id}/subscribed_apps")
    meta.phone(ANNA).writes("!")
    meta.quiet()

    assert none == {"data": []}
    assert [message["text"]["body"] for message in values(receiver, "messages")] == ["!"]
    assert get(meta, f"{meta.waba_id}/subscribed_apps").json()["data"]


@pytest.mark.parametrize(
    ("does", "kind"),
    [
        (lambda anna: anna.sends_location(0.0, 0.0, name="Порт"), "location"),
        (lambda anna: anna.sends_card("Вера", "+44 7700 900103"), "contacts"),
        (lambda anna: anna.sends_image(b"jpeg", caption="Вот"), "image"),
        (lambda anna: anna.presses("Да", of="wamid.1"), "button"),
        (lambda anna: anna.chooses("Завтра", of="wamid.1", kind="list_reply"), "interactive"),
        (lambda anna: anna.reacts("👍", to="wamid.1"), "reaction"),
        (lambda anna: anna.edits("wamid.1", "иначе"), "edit"),
        (lambda anna: anna.revokes("wamid.1"), "revoke"),
        (lambda anna: anna.sends_unsupported(), "unsupported"),
    ],
)
def test_every_action_of_a_client_has_metas_webhook_format(
    meta: MetaSimulator, receiver: Receiver, does: Callable[[Phone], str], kind: str
) -> None:
    wamid = does(meta.phone(ANNA))

    meta.quiet()
    (message,) = values(receiver, "messages")
    assert (message["id"], message["type"]) == (wamid, kind)
    assert kind in message


def test_a_client_with_a_hidden_number_has_only_a_user_id(meta: MetaSimulator, receiver: Receiver) -> None:
    mia = meta.phone("12025550143", name="Mia", username="@mia", hides_number=True)

    mia.writes("Hi")
    answer = send(meta, to=None, recipient=mia.user_id, **HELLO)
    meta.quiet()

    assert answer.json()["contacts"] == [{"input": mia.user_id, "user_id": mia.user_id}]
    assert mia.received[0].text == "Здравствуйте"
    assert values(receiver, "statuses")[0]["recipient_user_id"] == mia.user_id
    assert all(b"12025550143" not in request.body for request in receiver.requests)


def test_a_number_change_is_a_system_message_and_the_phone_gets_replies(
    meta: MetaSimulator, receiver: Receiver
) -> None:
    anna = meta.phone(ANNA)
    before = anna.user_id

    anna.changes_number("447700900111")
    meta.quiet()

    (message,) = values(receiver, "messages")
    assert (message["from"], message["system"]["wa_id"]) == (ANNA, "447700900111")
    assert message["system"]["user_id"] == anna.user_id != before
    assert values(receiver, "contacts") == []
    assert meta.phone("447700900111") is anna


def test_an_echo_is_posted_as_an_echo_not_as_a_message(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    meta.echo(anna, "С телефона магазина")

    meta.quiet()
    assert changes(receiver)[0]["field"] == "smb_message_echoes"
    assert values(receiver, "message_echoes")[0]["to"] == ANNA


def test_the_account_calls_return_its_properties(meta: MetaSimulator) -> None:
    fields = "display_phone_number,verified_name,quality_rating,whatsapp_business_manager_messaging_limit,throughput"

    number = get(meta, meta.phone_number_id, fields=fields).json()
    waba = get(meta, meta.waba_id, fields="name,account_review_status").json()
    numbers = get(meta, f"{meta.waba_id}/phone_numbers").json()["data"]

    assert set(number) == {*fields.split(","), "id"}
    assert number["quality_rating"] == "GREEN"
    assert waba["account_review_status"] == "APPROVED"
    assert [row["id"] for row in numbers] == [meta.phone_number_id]
    assert code(get(meta, meta.phone_number_id, fields="shoe_size")) == 100
    assert code(get(meta, "1")) == 100


def simulator(meta: MetaSimulator, action: str, body: Any = None) -> Any:
    if body is None:
        return requests.get(f"{meta.url}/_simulator/{action}", timeout=5).json()
    return requests.post(f"{meta.url}/_simulator/{action}", json=body, timeout=5).json()


def test_the_control_api_offers_all_actions(meta: MetaSimulator, receiver: Receiver) -> None:
    ids = simulator(meta, "writes", {"from": ANNA, "name": "Анна", "text": "раз", "count": 3})["ids"]
    simulator(meta, "sends", {"from": ANNA, "type": "location", "content": {"latitude": 1, "longitude": 2}})
    simulator(meta, "reacts", {"from": ANNA, "to": ids[0], "emoji": "👍"})
    behavior = simulator(meta, "behave", {"reject": 131056, "times": 1})
    refused, taken = send(meta), send(meta)
    meta.quiet()
    simulator(meta, "reads", {"from": ANNA})
    row = simulator(meta, "template", {"name": "hello", "body": "Да."})
    simulator(meta, "review", {"id": row["id"], "event": "PAUSED"})
    simulator(meta, "later", {"hours": 25})
    simulator(meta, "token", {"access_token": "new"})
    meta.quiet()

    assert [m["text"]["body"] for m in values(receiver, "messages")[:3]] == ["раз 1", "раз 2", "раз 3"]
    assert behavior["reject"] == {"value": 131056, "times": 1}
    assert (refused.status_code, taken.status_code) == (400, 200)
    (sent,) = simulator(meta, "sent")
    assert sent["statuses"] == ["sent", "delivered", "read"]
    assert simulator(meta, "")["clock_ahead_seconds"] == 90_000
    assert simulator(meta, "posted")[-1]["status"] == 200
    assert [seen["path"] for seen in simulator(meta, "calls")] == [f"{meta.phone_number_id}/messages"] * 2
    assert meta.access_token == "new"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("behave", {"rejekt": 1}),
        ("behave", {"sign": "sideways"}),
        ("behave", {"batch": "many"}),
        ("writes", {}),
        ("nothing", {}),
        ("review", {"id": "1", "event": "PAUSED"}),
    ],
)
def test_a_wrong_control_request_gets_an_explanation(meta: MetaSimulator, action: str, body: Any) -> None:
    assert simulator(meta, action, body)["error"]["message"]


def test_all_api_calls_are_recorded(meta: MetaSimulator, anna: Phone) -> None:
    send(meta)
    get(meta, meta.waba_id)

    assert [(seen.method, seen.path, seen.version) for seen in meta.api_calls] == [
        ("POST", f"{meta.phone_number_id}/messages", "v25.0"),
        ("GET", meta.waba_id, "v25.0"),
    ]
    assert meta.api_calls[0].json["text"] == HELLO["text"]


def test_the_simulator_serves_loopback_only() -> None:
    with pytest.raises(AssertionError):
        MetaSimulator(host="0.0.0.0")


def test_the_simulator_runs_as_a_program(receiver: Receiver) -> None:
    command = [sys.executable, "-m", "tests.simulators.meta", "--port", "0", "--batch", "3", "--waba-id", "42"]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        ready = json.loads(process.stdout.readline())["ready"]
        state = requests.get(ready["control"], timeout=5).json()
        rows = requests.get(
            f"{ready['base_url']}/v25.0/42/message_templates",
            headers={"Authorization": f"Bearer {ready['access_token']}"},
            timeout=5,
        ).json()["data"]

        assert state["behavior"]["batch"] == 3
        assert [row["name"] for row in rows] == ["order_ready"]
    finally:
        process.kill()
        process.communicate()
