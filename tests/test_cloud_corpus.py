"""Checks of the recorded Cloud API payloads: complete, consistent with their expectations, and free of real data."""

import json
import re
from typing import Any

import pytest

from tests.cloud_corpus import FOLDER, Recording, beside_a_broken_one, corpus, reserialised, tampered
from tests.simulators.wire import as_sent, signature

KINDS = set("message reaction edit revoke echo status contact call template account trouble group".split())
WORDS = {
    *"kind id wa_id user_id phone name username shows length at opens_window file place reply_to of emoji".split(),
    *"forwarded ad code title details unsupported status key category reads_as repeat change new_wa_id".split(),
    *"new_user_id quality next_category previous_category components_changed reread sendable reason event".split(),
    *"limit restriction optional language".split(),
}
MESSAGE_TYPES = {
    *"text image video audio document sticker location contacts interactive button reaction order system".split(),
    *"unsupported edit revoke".split(),
}
FIELDS = {
    *"messages smb_message_echoes history message_template_status_update message_template_quality_update".split(),
    *"template_category_update message_template_components_update phone_number_quality_update".split(),
    *"account_update account_alerts account_review_update business_capability_update user_preferences".split(),
    *"phone_number_name_update security user_id_update business_username_update calls flows".split(),
    *"smb_app_state_sync payment_configuration_update automatic_events".split(),
}
FICTITIOUS = re.compile(r"447700900\d{3}|12025550\d{3}|1555010\d{4}")


def by_name(recording: Recording) -> str:
    return recording.name


def changes(body: Any) -> list[dict[str, Any]]:
    entries = [entry for entry in body.get("entry", []) if isinstance(entry, dict)]
    return [change for entry in entries for change in entry.get("changes", []) if isinstance(change, dict)]


def items(body: Any, name: str) -> list[dict[str, Any]]:
    found: list[Any] = []
    for change in changes(body):
        if isinstance(change.get("value"), dict):
            found += change["value"].get(name) or []
    return [item for item in found if isinstance(item, dict)]


def test_every_recording_has_an_expectation_and_vice_versa() -> None:
    assert len(corpus()) >= 120
    assert {path.name for path in FOLDER.glob("*.json")} == {path.name for path in (FOLDER / "expected").iterdir()}


def test_every_type_status_and_field_of_the_facts_is_recorded() -> None:
    types = {str(item.get("type")) for each in corpus() for item in items(each.json, "messages")}
    fields = {change.get("field") for each in corpus() for change in changes(each.json)}
    statuses = {item.get("status") for each in corpus() for item in items(each.json, "statuses")}

    assert types >= MESSAGE_TYPES
    assert fields >= FIELDS
    assert statuses >= {"sent", "delivered", "read", "played", "failed", "deleted", "warning"}


@pytest.mark.parametrize("recording", corpus(), ids=by_name)
def test_every_expectation_matches_its_recording(recording: Recording) -> None:
    content = json.dumps(recording.json, ensure_ascii=False)

    assert recording.says
    for fact in recording.facts:
        assert fact["kind"] in KINDS
        assert set(fact) <= WORDS
        for word in ("id", "reply_to", "of", "wa_id", "user_id", "key"):
            assert not fact.get(word) or json.dumps(fact[word], ensure_ascii=False).strip('"') in content
        for piece in fact.get("shows", []):
            inner = json.dumps(piece, ensure_ascii=False)[1:-1]
            assert inner in content or json.dumps(inner, ensure_ascii=False)[1:-1] in content


def test_phone_numbers_are_reserved_for_fiction() -> None:
    for recording in corpus():
        people = [fact[word] for fact in recording.facts for word in ("wa_id", "new_wa_id") if fact.get(word)]
        people += [card["wa_id"] for card in items(recording.json, "contacts") if "wa_id" in card]
        assert all(FICTITIOUS.fullmatch(phone) or not phone.isdigit() for phone in people), recording.name


def test_a_message_id_belongs_to_one_recording() -> None:
    owners: dict[str, str] = {}
    for recording in corpus():
        for fact in recording.of("message", "reaction", "edit", "revoke", "echo"):
            assert owners.setdefault(fact["id"], recording.name) == recording.name


@pytest.mark.parametrize("recording", corpus(), ids=by_name)
def test_altered_copies_differ_as_described(recording: Recording) -> None:
    body = recording.body

    assert tampered(body) != body
    assert len(tampered(body)) - len(body) in (0, 1)
    assert reserialised(body) != body
    assert json.loads(reserialised(body)) == recording.json
    assert len(json.loads(beside_a_broken_one(body))["entry"]) == len(recording.json["entry"]) + 2


def test_bytes_and_signature_are_encoded_as_meta_does() -> None:
    body = as_sent({"text": "ё/<@50%", "n": [1, None]})

    assert body == b'{"text":"\\u0451\\/\\u003C\\u004050\\u0025","n":[1,null]}'
    assert json.loads(body) == {"text": "ё/<@50%", "n": [1, None]}
    # echo -n 'hello' | openssl dgst -sha256 -hmac key
    assert signature(b"hello", "key") == "sha256=9307b3b915efb5171ff14d8cb55fbcc798c6c0ef1456d66ded1a6aa723a58b7b"
