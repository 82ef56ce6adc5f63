"""Contract of helpdesk providers: every external kind with every recorded payload."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from channels_setup.codecs.bodies import BadBody, encode_event
from channels_setup.providers import helpdesks
from channels_setup.providers.base import ApiRequest, ApiResponse, ContactInfo, Outcome, RequestRejected
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import (
    CommentAdded,
    EventSeen,
    HelpdeskAccount,
    HelpdeskCommand,
    MessageSent,
    RemoteIds,
    TicketChanged,
)
from tests.scenarios.provider_contracts import HELPDESK_ACCOUNT, PAYLOADS, build_raw_request

OUTSIDE = [kind for kind, provider in helpdesks().items() if not provider.built_in]
RECORDED = [
    pytest.param(kind, path, id=f"{kind}-{path.stem}")
    for kind in OUTSIDE
    for path in sorted((PAYLOADS / kind).glob("*.json"))
]


def command(kind_of_command: str, **more: object) -> HelpdeskCommand:
    contact = ContactInfo(external_id="79210000000", phone="+79210000000", name="Анна")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    known = RemoteIds(chat_id=7, client_id=8, ticket_id=9)
    return HelpdeskCommand(
        **(
            {
                "kind": kind_of_command,
                "key": "msg_1",
                "text": "Да 🙌",
                "contact": contact,
                "at": at,
                "remote_ids": known,
            }
            | more
        )
    )


def test_an_external_helpdesk_with_recordings_exists() -> None:
    assert OUTSIDE
    assert all(list((PAYLOADS / kind).glob("*.json")) for kind in OUTSIDE)


@pytest.mark.parametrize(("kind", "path"), RECORDED)
def test_a_recording_is_read_the_same_as_json_and_as_a_form(kind: str, path: Path) -> None:
    provider, body = helpdesks()[kind], json.loads(path.read_bytes())
    content_type, form = encode_event(body, as_json=False, utf8=True)

    facts = provider.parse(build_raw_request(path.read_bytes()), HELPDESK_ACCOUNT)
    from_form = provider.parse(build_raw_request(form, content_type), HELPDESK_ACCOUNT)

    assert isinstance(facts[0], EventSeen)
    assert all(isinstance(fact, EventSeen | MessageSent | CommentAdded | TicketChanged) for fact in facts)
    assert facts == from_form


@pytest.mark.parametrize(("kind", "path"), RECORDED)
def test_a_recording_is_accepted_only_with_its_secret(kind: str, path: Path) -> None:
    provider, body = helpdesks()[kind], json.loads(path.read_bytes())

    provider.authenticate(build_raw_request(path.read_bytes()), HELPDESK_ACCOUNT)

    if "secret" in body:
        for wrong in ("", "0", "51424", None, ["51423"], {"a": 1}, True):
            with pytest.raises(RequestRejected):
                provider.authenticate(
                    build_raw_request(json.dumps(body | {"secret": wrong}).encode()), HELPDESK_ACCOUNT
                )
        with pytest.raises(RequestRejected):
            empty = HelpdeskAccount(id=1, name="", company_id=1)
            provider.authenticate(build_raw_request(json.dumps(body | {"secret": ""}).encode()), empty)


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\x00", b"[" * 5000, b'{"ticket": 5}', b'{"chat_id": {}, "from": []}', b"9" * 5000,
             b'{"trigger": {"data": 5}}', b'{"comment": []}', b'{"secret": "51423", "ticket": {"id": "x"}}']
)  # fmt: skip
def test_any_payload_is_read_or_refused_with_an_explanation(kind: str, body: bytes) -> None:
    try:
        facts = helpdesks()[kind].parse(build_raw_request(body), HELPDESK_ACCOUNT)
    except BadBody as problem:
        assert str(problem)
    else:
        assert isinstance(facts[0], EventSeen)


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("command_kind", [contract.CLIENT, contract.MESSAGE, contract.NOTE])
def test_a_command_builds_the_same_bytes_and_shows_no_key(kind: str, command_kind: str) -> None:
    made, again = (helpdesks()[kind].build_request(command(command_kind), HELPDESK_ACCOUNT) for _ in range(2))

    assert isinstance(made, ApiRequest) and made == again
    assert made.url.startswith(HELPDESK_ACCOUNT.options["base_url"])
    assert HELPDESK_ACCOUNT.secret not in made.url + repr(made) + repr(HELPDESK_ACCOUNT)
    assert ("Да 🙌" in made.body.decode()) == (command_kind != contract.CLIENT)


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_note_is_private_and_waits_for_its_request(kind: str) -> None:
    made = helpdesks()[kind].build_request(command(contract.NOTE), HELPDESK_ACCOUNT)
    early = helpdesks()[kind].build_request(command(contract.NOTE, remote_ids=RemoteIds()), HELPDESK_ACCOUNT)

    assert isinstance(made, ApiRequest) and b'"private"' in made.body
    assert isinstance(early, Outcome) and early.verdict == "retry"


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_file_is_attached_if_the_request_is_known(kind: str) -> None:
    upload = contract.AttachedFile(name="чек.png", mime="image/png", content=b"\x89PNG")

    made = helpdesks()[kind].build_request(command(contract.MESSAGE, uploads=(upload,)), HELPDESK_ACCOUNT)

    assert isinstance(made, ApiRequest) and b"\x89PNG" in made.body


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize("command_kind", [contract.CLIENT, contract.MESSAGE, contract.NOTE])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 5000,
        b'{"error": 5}',
        b'{"error": {"a": "b"}}',
        b'{"status": false}',
        b'{"error": "no"}',
    ],
)
def test_a_200_without_success_is_no_success(kind: str, command_kind: str, body: bytes) -> None:
    answered = helpdesks()[kind].read_response(command(command_kind), ApiResponse(status=200, headers={}, body=body))

    assert answered.outcome.verdict != "accepted"
    assert answered.outcome.reason


@pytest.mark.parametrize("kind", OUTSIDE)
@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"chat_id": 1, "ticket_id": None, "client_id": "3"}, "accepted"),
        (200, {"status": "success"}, "retry"),
        (200, {"error": "Wrong api_token", "code": 401}, "pause"),
        (200, {"error": "Too many requests"}, "retry"),
        (200, {"status": False}, "pause"),
        (401, {}, "pause"),
        (404, {}, "pause"),
        (302, {}, "pause"),
        (429, {}, "retry"),
        (503, {}, "retry"),
    ],
)
def test_responses_to_a_message_are_classified(kind: str, status: int, body: dict[str, object], verdict: str) -> None:
    answer = ApiResponse(status=status, headers={}, body=json.dumps(body).encode())

    answered = helpdesks()[kind].read_response(command(contract.MESSAGE), answer)

    assert answered.outcome.verdict == verdict
    if verdict == "accepted":
        assert answered.remote_ids == RemoteIds(chat_id=1, client_id=3)
