"""Meta simulator: acceptance and rejection of messages, statuses, limits."""

import time
from typing import Any

import pytest
import requests

from tests.receiver import Receiver
from tests.simulators.calling import ANNA, HELLO, call, changes, code, send, values
from tests.simulators.meta import MetaSimulator
from tests.simulators.phones import Phone
from tests.simulators.wire import signature


def test_statuses_of_an_accepted_message_contain_our_key(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    answer = send(meta, biz_opaque_callback_data="msg_1", **HELLO)
    meta.quiet()
    anna.reads()
    meta.quiet()

    statuses = values(receiver, "statuses")
    assert answer.status_code == 200
    assert answer.json()["contacts"] == [{"input": f"+{ANNA}", "wa_id": ANNA, "user_id": anna.user_id}]
    assert {status["id"] for status in statuses} == {answer.json()["messages"][0]["id"]}
    assert [status["status"] for status in statuses] == ["sent", "delivered", "read"]
    assert {status["biz_opaque_callback_data"] for status in statuses} == {"msg_1"}
    assert statuses[0]["pricing"]["category"] == "service"
    assert anna.received[0].text == "Здравствуйте"


def test_statuses_can_be_delayed(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    meta.behave(delay_statuses=0.3, statuses="delivered")

    started = time.monotonic()
    send(meta)
    meta.quiet()

    assert receiver.requests[0].at - started >= 0.3
    assert [status["status"] for status in values(receiver, "statuses")] == ["delivered"]


def test_a_status_can_arrive_before_the_response(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    receiver.answer("/hook", delay=0.2)
    meta.behave(statuses="sent", statuses_first=True)

    answer = send(meta)

    assert receiver.requests[0].at < time.monotonic()
    assert [status["id"] for status in values(receiver, "statuses")] == [answer.json()["messages"][0]["id"]]
    assert [posted.status for posted in meta.webhook_sender.posted] == [200]


def test_after_24_hours_text_fails_and_a_template_is_accepted(
    meta: MetaSimulator, receiver: Receiver, anna: Phone
) -> None:
    meta.add_template("hello", body="Мы ответили.")
    meta.later(hours=24)

    taken = send(meta)
    template = send(meta, type="template", template={"name": "hello", "language": {"code": "ru"}})
    meta.quiet()

    failed = values(receiver, "statuses")[0]
    assert (taken.status_code, template.status_code) == (200, 200)
    assert (failed["status"], failed["errors"][0]["code"]) == ("failed", 131047)
    assert [sent.text for sent in anna.received] == ["Мы ответили."]
    anna.writes("Я тут")
    send(meta)
    assert len(anna.received) == 2


def test_reactions_edits_and_deletions_open_no_window(meta: MetaSimulator) -> None:
    anna = meta.phone(ANNA)

    anna.reacts("", to="wamid.1")
    anna.edits("wamid.1", "?")
    anna.revokes("wamid.1")
    meta.behave(tell="answer")

    assert code(send(meta)) == 131047
    anna.reacts("👍", to="wamid.1")
    assert send(meta).status_code == 200


def test_an_error_is_in_the_response_a_status_or_both(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    meta.behave(tell="both", fail=131026, times=1)
    both = send(meta)
    meta.behave(tell="status", fail=131048, times=1)
    later = send(meta)
    meta.behave(reject=131056, times=2)
    refused = [send(meta), send(meta), send(meta)]
    meta.quiet()

    assert code(both) == 131026
    assert later.status_code == 200
    codes = [status["errors"][0]["code"] for status in values(receiver, "statuses") if status["status"] == "failed"]
    assert codes == [131026, 131048]
    assert [answer.status_code for answer in refused] == [400, 400, 200]
    assert refused[0].json()["error"].keys() >= {"message", "type", "code", "error_data", "fbtrace_id"}


def test_a_client_without_marketing_gets_no_marketing_template(
    meta: MetaSimulator, receiver: Receiver, anna: Phone
) -> None:
    anna.blocked_marketing = True
    meta.add_template("sale", body="Скидки!", category="MARKETING")

    send(meta, type="template", template={"name": "sale", "language": {"code": "ru"}})
    meta.quiet()

    [error] = values(receiver, "statuses")[0]["errors"]
    assert error["code"] == 131050
    assert "This recipient has chosen to stop receiving marketing messages" in str(error)


def test_a_rejection_can_have_any_http_status(meta: MetaSimulator, anna: Phone) -> None:
    meta.behave(reject=131056, reject_status=200)

    answer = send(meta)

    assert (answer.status_code, code(answer)) == (200, 131056)


def test_the_rate_limit_of_one_contact(meta: MetaSimulator, anna: Phone) -> None:
    meta.behave(pair_burst=3, pair_seconds=600)

    first = [send(meta).status_code for _ in range(3)]
    other = send(meta, to="+447700900102")

    assert first == [200] * 3
    assert code(send(meta)) == 131056
    assert other.status_code == 200
    meta.later(seconds=600)
    assert send(meta).status_code == 200
    assert code(send(meta)) == 131056


def test_the_rate_limit_of_the_number(meta: MetaSimulator, anna: Phone) -> None:
    meta.behave(per_second=2)

    answers = [send(meta)]
    while answers[-1].status_code == 200 and len(answers) < 30:  # a busy machine may be slow
        answers.append(send(meta))

    assert len(answers) > 2
    assert code(answers[-1]) == 130429


@pytest.mark.parametrize(
    ("how", "status", "taken"),
    [("created", 201, 1), ("500", 500, 0), ("html", 502, 1), ("cut", None, 1), ("half", None, 1), ("lost", None, 0)],
)
def test_a_response_can_be_faulty(meta: MetaSimulator, anna: Phone, how: str, status: int | None, taken: int) -> None:
    meta.behave(answer=how, times=1)

    if status is None:
        with pytest.raises(requests.RequestException):
            send(meta)
    else:
        assert send(meta).status_code == status

    assert len(anna.received) == taken
    assert send(meta).status_code == 200


def test_a_slow_response_does_not_delay_the_acceptance(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    meta.behave(slow_seconds=1.5)
    meta.behave(answer="slow", times=1)

    started = time.monotonic()
    send(meta)
    answered = time.monotonic()

    assert answered - started >= 1.5
    assert receiver.wait_for(1)[0].at < answered


@pytest.mark.parametrize(
    ("written", "wa_id"),
    [
        ("+44 7700 900-101", ANNA),
        ("+44 (7700) 900101", ANNA),
        (ANNA, "1" + ANNA),  # without a plus Meta prepends the sender's country code
        ("+5511912345678", "551112345678"),
        ("+5215512345678", "525512345678"),
    ],
)
def test_a_number_is_normalized_as_meta_does(meta: MetaSimulator, written: str, wa_id: str) -> None:
    phone = meta.phone(wa_id)
    phone.wrote_at = meta.now()

    answer = send(meta, to=written)

    assert answer.json()["contacts"][0] == {"input": written, "wa_id": wa_id, "user_id": phone.user_id}
    assert len(phone.received) == 1


def test_a_message_to_an_unknown_number_is_undeliverable(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    anna.on_whatsapp = False

    answers = [send(meta), send(meta, to="+447700900199")]
    meta.quiet()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [status["errors"][0]["code"] for status in values(receiver, "statuses")] == [131026, 131026]
    assert "contacts" not in changes(receiver)[0]["value"]


def test_to_takes_precedence_over_recipient(meta: MetaSimulator, anna: Phone) -> None:
    other = meta.phone("447700900102")
    other.wrote_at = meta.now()

    send(meta, recipient=other.user_id, **HELLO)

    assert (len(anna.received), len(other.received)) == (1, 0)


LONG = "ы" * 4097
REPLY = {"type": "reply", "reply": {"id": "1", "title": "Да"}}


def buttons(*given: Any, text: str = "?") -> dict[str, Any]:
    inner = {"type": "button", "body": {"text": text}, "action": {"buttons": list(given)}}
    return {"type": "interactive", "interactive": inner}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({**HELLO, "messaging_product": None}, 100),
        ({**HELLO, "to": None}, 100),
        ({**HELLO, "to": "anna"}, 131009),
        ({**HELLO, "to": "+15550100801"}, 131021),
        ({**HELLO, "to": None, "recipient": "foo_bar"}, 131009),
        ({"type": "text"}, 100),
        ({"type": "text", "text": {"body": " \n"}}, 100),
        ({"type": "text", "text": {"body": LONG}}, 100),
        ({"type": "hologram", "hologram": {}}, 100),
        ({**HELLO, "biz_opaque_callback_data": "k" * 513}, 100),
        ({**HELLO, "context": {}}, 100),
        ({"type": "image", "image": {}}, 100),
        ({"type": "image", "image": {"id": "1", "link": "https://x.example/a.jpg"}}, 100),
        ({"type": "image", "image": {"link": "http://x.example/a.jpg"}}, 100),
        ({"type": "image", "image": {"link": "https://x.example/a.jpg", "caption": LONG[:1025]}}, 100),
        ({"type": "audio", "audio": {"link": "https://x.example/a.mp3", "caption": "?"}}, 100),
        ({"type": "reaction", "reaction": {"emoji": "👍"}}, 100),
        ({"type": "location", "location": {"latitude": "here"}}, 100),
        ({"type": "contacts", "contacts": [{}]}, 100),
        (buttons(), 131009),
        (buttons(*[REPLY] * 4), 131009),
        (buttons({"type": "reply", "reply": {"id": "1", "title": "ы" * 21}}), 131009),
        (buttons(REPLY, text="ы" * 1025), 131009),
        ({"type": "template", "template": {"name": "x"}}, 100),
    ],
)
def test_a_malformed_message_is_rejected(
    meta: MetaSimulator, anna: Phone, content: dict[str, Any], expected: int
) -> None:
    answer = send(meta, **content)

    assert code(answer) == expected
    assert answer.json()["error"]["error_data"]["details"]
    assert anna.received == []


@pytest.mark.parametrize(
    "content",
    [
        {"text": {"body": "без типа"}},
        {"type": "text", "text": {"body": LONG[:4096], "preview_url": True}, "context": {"message_id": "wamid.1"}},
        {"type": "image", "image": {"link": "https://x.example/a.jpg", "caption": "!"}},
        {"type": "document", "document": {"link": "https://x.example/a.pdf", "filename": "a.pdf"}},
        {"type": "location", "location": {"latitude": 0, "longitude": "0.5", "name": "Порт"}},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": "Вера"}}]},
        {"type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": ""}},
        buttons(REPLY),
    ],
)
def test_a_well_formed_message_is_accepted(meta: MetaSimulator, anna: Phone, content: dict[str, Any]) -> None:
    assert send(meta, **content).status_code == 200
    assert len(anna.received) == 1


def test_a_read_receipt_needs_a_known_message(meta: MetaSimulator) -> None:
    wamid = meta.phone(ANNA).writes("?")
    receipt = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}

    good = call(meta, f"{meta.phone_number_id}/messages", receipt | {"typing_indicator": {"type": "text"}})
    bad = call(meta, f"{meta.phone_number_id}/messages", receipt | {"message_id": "wamid.unknown"})

    assert good.json() == {"success": True}
    assert meta.marked_read == [wamid]
    assert code(bad) == 131009


def test_a_wrong_token_or_number_id_is_rejected(meta: MetaSimulator, anna: Phone) -> None:
    meta.access_token = "another"
    refused = call(meta, f"{meta.phone_number_id}/messages", {}, token="Bearer EAAsimulator")
    lost = call(meta, "109000000000899/messages", {})

    assert (refused.status_code, code(refused)) == (401, 190)
    assert code(lost) == 100
    assert lost.json()["error"]["error_subcode"] == 33


def test_a_bsp_has_another_header_and_no_id_in_the_path(receiver: Receiver) -> None:
    headers: dict[str, Any] = {"auth_header": "D360-API-KEY", "signature_header": "X-360dialog-Signature"}
    with MetaSimulator(webhook_url=receiver.url("/hook"), access_token="key", **headers) as meta:
        meta.phone(ANNA).writes("?")
        body = {"messaging_product": "whatsapp", "to": f"+{ANNA}", **HELLO}

        answer = requests.post(f"{meta.url}/messages", json=body, headers={"D360-API-KEY": "key"}, timeout=5)

        assert answer.status_code == 200
        (request,) = receiver.wait_for(1, where=lambda request: b'"messages":' in request.body)
        assert request.headers["x-360dialog-signature"] == signature(request.body, meta.webhook_sender.app_secret)
