"""WhatsApp Cloud: recordings and their expected facts, webhook authentication, requests, and responses."""

import base64
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from bridge.inbox import processing
from bridge.models import Message, WebhookEvent
from channels_setup import account_settings, onboarding
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import FileInfo
from channels_setup.providers import messengers
from channels_setup.providers.base import (
    ApiRequest,
    ApiResponse,
    ContactChanged,
    ContactInfo,
    EchoSeen,
    Fact,
    FileLocation,
    GroupActivity,
    ItemUnreadable,
    MessageEdited,
    MessageReceived,
    MessageRevoked,
    Outcome,
    RawRequest,
    ReactionChanged,
    RequestRejected,
    StatusChanged,
    TemplateChanged,
)
from channels_setup.providers.whatsapp_cloud import graph_errors, graph_webhooks
from tests import cloud_corpus
from tests.cloud_accounts import ACCESS_TOKEN, APP_SECRET, KIND, VERIFY_TOKEN, cloud_account, cloud_channel
from tests.cloud_corpus import Recording, beside_a_broken_one, corpus, reserialised, signed, tampered
from tests.scenarios.provider_contracts import sample_delivery

PROVIDER: Any = messengers()[KIND]
CORPUS = [pytest.param(recording, id=recording.name) for recording in corpus()]
CLASSES = {
    "message": MessageReceived,
    "call": MessageReceived,
    "echo": EchoSeen,
    "reaction": ReactionChanged,
    "edit": MessageEdited,
    "revoke": MessageRevoked,
    "contact": ContactChanged,
    "status": StatusChanged,
    "template": TemplateChanged,
    "group": GroupActivity,
}


def raw_request(
    body: bytes, *, headers: dict[str, str] | None = None, method: str = "POST", query: str = ""
) -> RawRequest:
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    return RawRequest(method=method, query_string=query, content_type="application/json", headers=headers, body=body)


def facts_of(body: bytes) -> list[Fact]:
    found: list[Fact] = PROVIDER.parse(raw_request(body), cloud_account())
    return found


def id_of(fact: Any) -> str:
    return str(getattr(fact, "external_id", ""))


# --- recordings and their expected facts --------------------------------------------------------------------


@pytest.mark.parametrize("recording", CORPUS)
def test_a_recording_is_read_as_expected(recording: Recording) -> None:
    with translation.override("en"):
        facts = [fact for fact in facts_of(recording.body) if isinstance(fact, tuple(CLASSES.values()))]
    for kind in set(CLASSES) - {"call"}:
        named = [
            fact for fact in recording.facts if fact["kind"] == kind or (kind, fact["kind"]) == ("message", "call")
        ]
        made = [fact for fact in facts if isinstance(fact, CLASSES[kind])]
        if kind == "revoke":  # our own message, deleted in the phone app, is the same fact
            named += [fact for fact in recording.facts if fact["kind"] == "echo" and fact.get("optional")]
        must = [fact for fact in named if not fact.get("optional")]
        assert len(must) <= len(made) <= len(named), (kind, made)
        for expected in must:
            matching = [fact for fact in made if matches(fact, expected)]
            assert matching, (expected, made)
            check(matching[0], expected)


def matches(fact: Any, expected: dict[str, Any]) -> bool:
    if isinstance(fact, MessageRevoked):
        return bool(fact.target_id == expected["of"])
    if isinstance(fact, StatusChanged) and fact.status != expected.get("reads_as", expected["status"]):
        return False
    return "id" not in expected or id_of(fact) == expected["id"]


def check(fact: Any, expected: dict[str, Any]) -> None:
    contact = getattr(fact, "contact", None)
    if contact is not None:
        for name, ours in (("wa_id", "external_id"), ("user_id", "user_id"), ("name", "name"), ("phone", "phone")):
            if name in expected:
                assert getattr(contact, ours) == (expected[name] or ""), name
    if "at" in expected and fact.at is not None:
        assert fact.at.timestamp() == expected["at"]
    text = words(fact)
    for piece in expected.get("shows", ()):
        assert piece in text
    if "length" in expected:
        assert len(fact.text) == expected["length"]
    if isinstance(fact, MessageReceived | EchoSeen):
        assert fact.text or fact.files, "nothing that a person could read"
        check_message(fact, expected)
    if "of" in expected:
        assert fact.target_id == expected["of"]
    if "emoji" in expected:
        assert fact.emoji == expected["emoji"]
    if expected.get("new_wa_id"):
        assert (fact.now.external_id, fact.now.phone) == (expected["new_wa_id"], f"+{expected['new_wa_id']}")
    if expected.get("new_user_id"):
        assert fact.now.user_id == expected["new_user_id"]
    if isinstance(fact, StatusChanged):
        assert fact.key == expected.get("key", "")
        for name in ("code", "title", "details"):
            if name in expected:
                assert getattr(fact, name) == str(expected[name])
    if isinstance(fact, TemplateChanged):
        check_template(fact, expected)
    if isinstance(fact, GroupActivity):
        assert fact.event == expected["event"]


def words(fact: Any) -> str:
    names = " ".join(file.name for file in getattr(fact, "files", ()))
    reason = fact.reason if isinstance(fact, TemplateChanged) else ""
    return f"{getattr(fact, 'text', '')} {names} {reason}"


def check_message(fact: MessageReceived | EchoSeen, expected: dict[str, Any]) -> None:
    values = dict(fact.shown)
    assert json.dumps(values)
    if "reply_to" in expected:
        assert fact.quoted_id == expected["reply_to"]
    if "forwarded" in expected:
        assert values["forwarded"] is True
    if "ad" in expected:
        assert values["ad"]["headline"] == expected["ad"]
    if "place" in expected:
        assert [values["latitude"], values["longitude"]] == expected["place"]
        assert all(f"{number:.10g}" in values["map"] for number in expected["place"])
    if "code" in expected:
        assert (values["what"], values["code"]) == ("unsupported", str(expected["code"]))
    if "unsupported" in expected:
        assert values["kind"] == expected["unsupported"]
    if "file" in expected:
        file, expected_file = fact.files[0], expected["file"]
        assert (file.external_id, file.url) == (expected_file["media_id"], "")
        assert (file.mime, file.sha256) == (expected_file["mime"], base64.b64decode(expected_file["sha256"]).hex())
        if "name" in expected_file:
            assert file.name == expected_file["name"]
        if expected_file.get("unsafe_name"):
            assert not set("/\\\r\n<>") & set(file.name) and not file.name.startswith(".")
        assert (values.get("what") == "voice") is bool(expected_file.get("voice"))


def check_template(fact: TemplateChanged, expected: dict[str, Any]) -> None:
    assert fact.external_id == expected["id"]
    assert fact.language == expected["language"]
    if expected.get("reread") or expected.get("components_changed"):
        assert (fact.reread, fact.status) == (True, "")
    elif expected.get("sendable") is True:
        assert fact.status == "APPROVED"
    elif "status" in expected:
        assert fact.status == expected["status"]
    for name in ("quality", "category", "next_category"):
        assert getattr(fact, name) == expected.get(name, "")
    assert expected.get("reason", "") in fact.reason


def test_foreign_and_unknown_items_are_neither_facts_nor_errors() -> None:
    silent = [recording for recording in corpus() if not recording.facts]

    assert len(silent) > 15
    for recording in silent:
        unread = [fact for fact in facts_of(recording.body) if not isinstance(fact, ItemUnreadable)]
        assert unread == [], recording.name


@pytest.mark.parametrize("recording", CORPUS)
def test_a_broken_neighbor_does_not_affect_other_items(recording: Recording) -> None:
    alone, next_to_a_broken_one = facts_of(recording.body), facts_of(beside_a_broken_one(recording.body))

    assert [fact for fact in next_to_a_broken_one if not isinstance(fact, ItemUnreadable)] == [
        fact for fact in alone if not isinstance(fact, ItemUnreadable)
    ]


# --- authentication --------------------------------------------------------------------------------------------


def is_accepted(body: bytes, headers: dict[str, str], **options: str) -> bool:
    try:
        PROVIDER.authenticate(raw_request(body, headers=headers), cloud_account(**options))
    except RequestRejected:
        return False
    return True


@pytest.mark.parametrize("recording", CORPUS)
def test_only_the_signed_bytes_are_accepted(recording: Recording) -> None:
    body, headers = recording.body, signed(recording.body, APP_SECRET)

    assert is_accepted(body, headers)
    assert not is_accepted(body, {})
    assert not is_accepted(tampered(body), headers)
    assert not is_accepted(reserialised(body), headers)
    assert not is_accepted(body, signed(body, "another secret"))


@pytest.mark.parametrize(
    "value", ["", "sha256=", "sha256=" + "0" * 64, "sha1=" + "0" * 40, "sha256=é" + "0" * 63, "x" * 5000, "SHA256=a"]
)
def test_an_invalid_signature_is_refused(value: str) -> None:
    assert not is_accepted(b"{}", {"x-hub-signature-256": value})


def test_the_old_signature_header_is_not_accepted() -> None:
    headers = signed(b"{}", APP_SECRET)

    assert not is_accepted(b"{}", {"x-hub-signature": headers["X-Hub-Signature-256"]})


def test_a_channel_without_a_secret_accepts_nothing() -> None:
    account = cloud_account()
    bare = type(account)(id=1, name="", app_id="", options=account.options, credentials={"app_secret": ("",)})
    for secret in ("", "None", APP_SECRET):
        with pytest.raises(RequestRejected):
            PROVIDER.authenticate(raw_request(b"{}", headers=signed(b"{}", secret)), bare)


def test_a_simulators_signature_has_its_own_header() -> None:
    value = signed(b"{}", APP_SECRET)["X-Hub-Signature-256"]
    own = {"signature_header": "X-360dialog-Signature"}

    assert is_accepted(b"{}", {"x-360dialog-signature": value}, **own)
    assert is_accepted(b"{}", {"x-360dialog-signature": value.removeprefix("sha256=")}, **own)
    assert not is_accepted(b"{}", {"x-hub-signature-256": value}, **own)


@pytest.mark.django_db
@pytest.mark.exhaustive
def test_all_recordings_posted_twice_are_stored_raw_and_processed_once(client: Client) -> None:
    channel = cloud_channel()
    for _time in range(2):
        for recording in corpus():
            headers = {"x-hub-signature-256": signed(recording.body, APP_SECRET)["X-Hub-Signature-256"]}
            answer = client.post(channel.webhook_path, recording.body, content_type="application/json", headers=headers)
            assert answer.status_code == 200, recording.name
        processing.process_inbox()

    received = WebhookEvent.objects.filter(routed_from=None)
    assert received.count() == 2 * len(corpus())
    failed = received.exclude(state="processed").values_list("error", flat=True)
    assert list(failed) == []
    assert not WebhookEvent.objects.exclude(routed_from=None).exclude(state="unrouted").exists()
    stored = Message.objects.filter(direction="inbound")
    expected = {fact["id"] for recording in corpus() for fact in recording.of("message") if fact["kind"] == "message"}
    assert expected <= set(stored.values_list("external_id", flat=True))
    ids = list(stored.values_list("external_id", flat=True))
    assert len(ids) == len(set(ids))


@pytest.mark.django_db
def test_unsigned_tampered_and_reserialized_recordings_leave_no_row(client: Client) -> None:
    channel = cloud_channel()
    for recording in corpus()[::10]:
        signature = signed(recording.body, APP_SECRET)["X-Hub-Signature-256"]
        for body, headers in (
            (recording.body, {}),
            (tampered(recording.body), {"x-hub-signature-256": signature}),
            (reserialised(recording.body), {"x-hub-signature-256": signature}),
        ):
            answer = client.post(channel.webhook_path, body, content_type="application/json", headers=headers)
            assert answer.status_code == 403, recording.name

    assert not WebhookEvent.objects.exists()


@pytest.mark.django_db
def test_two_app_secrets_are_valid_while_one_replaces_the_other(client: Client) -> None:
    channel = cloud_channel()
    channel.save_credential("app_secret", "the new one 0123456789")

    body = corpus()[0].body
    for secret, status in ((APP_SECRET, 200), ("the new one 0123456789", 200), ("a third", 403)):
        headers = {"x-hub-signature-256": signed(body, secret)["X-Hub-Signature-256"]}
        answer = client.post(channel.webhook_path, body, content_type="application/json", headers=headers)
        assert answer.status_code == status


@pytest.mark.django_db
def test_meta_verifies_the_address(client: Client) -> None:
    channel = cloud_channel()
    parameters = {"hub.mode": "subscribe", "hub.challenge": "<b>1158201444", "hub.verify_token": VERIFY_TOKEN}

    answer = client.get(channel.webhook_path, parameters)

    assert (answer.status_code, answer.content) == (200, b"<b>1158201444")
    assert answer["content-type"].startswith("text/plain") and answer["x-content-type-options"] == "nosniff"
    channel.refresh_from_db()
    assert channel.provider_status["handshake_at"]


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "wrong", "отворись", VERIFY_TOKEN + "x", None])
def test_without_the_verify_token_there_is_no_challenge(client: Client, token: str | None) -> None:
    channel = cloud_channel()
    parameters = {"hub.mode": "subscribe", "hub.challenge": "1"} | (
        {} if token is None else {"hub.verify_token": token}
    )

    assert client.get(channel.webhook_path, parameters).status_code == 403
    assert client.get(channel.webhook_path, parameters | {"hub.mode": ""}).status_code == 403


@pytest.mark.django_db
def test_a_wrong_verify_token_is_reported_until_the_address_is_verified(client: Client) -> None:
    channel = cloud_channel()
    parameters = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": "another"}
    assert [step.title for step in onboarding.list_steps(channel) if step.state == "trouble"] == []

    client.get(channel.webhook_path, parameters)

    channel.refresh_from_db()
    with translation.override("en"):
        (step,) = [step for step in onboarding.list_steps(channel) if step.state == "trouble"]
    assert "different verify token" in str(step.title)
    client.get(channel.webhook_path, parameters | {"hub.verify_token": VERIFY_TOKEN})
    channel.refresh_from_db()
    assert [step.title for step in onboarding.list_steps(channel) if step.state == "trouble"] == []


@pytest.mark.django_db
def test_refusals_are_recorded_once_a_minute_and_reset_by_new_settings(client: Client) -> None:
    channel = cloud_channel()
    for _time in range(3):
        assert client.post(channel.webhook_path, b"{}", content_type="application/json").status_code == 403
    channel.refresh_from_db()
    first = channel.provider_status["refused_at"]
    client.post(channel.webhook_path, b"{}", content_type="application/json")
    channel.refresh_from_db()
    assert channel.provider_status["refused_at"] == first

    account_settings.save_values(channel, {"app_secret": "the right one at last"})

    channel.refresh_from_db()
    assert not channel.provider_status["refused_at"]


@pytest.mark.django_db
def test_a_body_of_three_megabytes_is_accepted(client: Client) -> None:
    channel = cloud_channel()
    recording = next(recording for recording in corpus() if recording.name == "text_plain")
    body = recording.json
    body["entry"][0]["changes"][0]["value"]["padding"] = "я" * 500_000
    large = cloud_corpus.as_sent(body)
    assert len(large) > 3_000_000
    headers = {"x-hub-signature-256": signed(large, APP_SECRET)["X-Hub-Signature-256"]}

    answer = client.post(channel.webhook_path, large, content_type="application/json", headers=headers)
    processing.process_inbox()

    assert answer.status_code == 200
    assert Message.objects.get().text == "Hello, are the boots in?"


@pytest.mark.django_db
def test_an_unreadable_item_is_reported_with_its_event(client: Client) -> None:
    channel = cloud_channel()
    recording = next(recording for recording in corpus() if recording.name == "batch_broken_neighbours")
    headers = {"x-hub-signature-256": signed(recording.body, APP_SECRET)["X-Hub-Signature-256"]}

    client.post(channel.webhook_path, recording.body, content_type="application/json", headers=headers)
    processing.process_inbox()

    event = WebhookEvent.objects.get()
    assert event.state == "processed" and event.error
    assert Message.objects.filter(text__startswith="целое").count() == 2


def change_with_neighbor(neighbor: dict[str, Any]) -> bytes:
    """Return a change with a recorded text and another message after it."""
    body = next(recording for recording in corpus() if recording.name == "text_plain").json
    messages = body["entry"][0]["changes"][0]["value"]["messages"]
    messages.append({**messages[0], "id": "wamid.neighbour", "type": "text", "text": None, **neighbor})
    return cloud_corpus.as_sent(body)


def post_signed(client: Client, body: bytes) -> None:
    headers = {"x-hub-signature-256": signed(body, APP_SECRET)["X-Hub-Signature-256"]}
    answer = client.post(cloud_channel().webhook_path, body, content_type="application/json", headers=headers)
    assert answer.status_code == 200


@pytest.mark.django_db
def test_a_deeply_nested_form_is_a_message_and_affects_no_other(client: Client) -> None:
    nested = '{"a": ' + "[" * 900 + "]" * 900 + "}"
    form = {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": nested}}

    post_signed(client, change_with_neighbor({"type": "interactive", "interactive": form}))
    processing.process_inbox()

    assert list(Message.objects.order_by("pk").values_list("text", flat=True)) == ["Hello, are the boots in?", "Sent"]


@pytest.mark.django_db
def test_an_item_that_breaks_our_own_code_affects_no_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(item: Any) -> str:
        if item["id"] == "wamid.neighbour":
            raise KeyError("context")
        return ""

    monkeypatch.setattr(graph_webhooks, "read_quoted_id", breaks)

    post_signed(client, change_with_neighbor({}))
    processing.process_inbox()

    assert Message.objects.get().text == "Hello, are the boots in?"
    assert "KeyError" in WebhookEvent.objects.get().error


@pytest.mark.django_db
def test_an_event_of_only_unused_updates_says_so(client: Client) -> None:
    channel = cloud_channel()
    recording = next(recording for recording in corpus() if recording.name == "field_username")
    headers = {"x-hub-signature-256": signed(recording.body, APP_SECRET)["X-Hub-Signature-256"]}

    client.post(channel.webhook_path, recording.body, content_type="application/json", headers=headers)
    with translation.override("en"):
        processing.process_inbox()

    event = WebhookEvent.objects.get()
    assert event.state == "processed" and event.error.startswith("This event has no item for this channel")
    channel.refresh_from_db()
    assert channel.first_inbound_at is None


# --- requests --------------------------------------------------------------------------------------------------


def sent_json(account: Any = None, **changes: Any) -> Any:
    plain = sample_delivery()
    made = PROVIDER.build_message_request(type(plain)(**{**plain.__dict__, **changes}), account or cloud_account())
    return json.loads(made.body) if isinstance(made, ApiRequest) else made


def test_a_text_is_sent_to_e164_with_our_key() -> None:
    body = sent_json(contact=ContactInfo(external_id="447700900101", phone="+44 7700 900101"), quoted_id="wamid.q")

    assert body == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+447700900101",
        "biz_opaque_callback_data": "msg_1",
        "context": {"message_id": "wamid.q"},
        "type": "text",
        "text": {"body": "Да 🙌", "preview_url": False},
    }


def test_a_contact_without_a_phone_is_addressed_by_user_id() -> None:
    body = sent_json(contact=ContactInfo(user_id="US.33491208655302741920"))

    assert body["recipient"] == "US.33491208655302741920" and "to" not in body


def test_a_contact_without_phone_and_user_id_cannot_be_addressed() -> None:
    assert sent_json(contact=ContactInfo()) == Outcome(verdict="permanent", reason="wa_no_recipient")


def test_a_template_is_sent_by_name_with_its_components() -> None:
    components = ({"type": "body", "parameters": [{"type": "text", "text": "Анна"}]},)
    template = {"name": "order_ready", "language": "ru", "parameters": ["Анна"]}
    body = sent_json(template=template, components=components)

    assert body["type"] == "template" and "text" not in body
    assert body["template"] == {"name": "order_ready", "language": {"code": "ru"}, "components": list(components)}
    assert "components" not in sent_json(template=template)["template"]


@pytest.mark.parametrize(
    ("file", "kind", "content"),
    [
        (FileInfo(url="https://x/a.jpg"), "image", {"link": "https://x/a.jpg", "caption": "Да"}),
        (FileInfo(external_id="7", mime="image/png"), "image", {"id": "7", "caption": "Да"}),
        (FileInfo(url="https://x/v.mp4"), "video", {"link": "https://x/v.mp4", "caption": "Да"}),
        (
            FileInfo(url="https://x/1", name="Счёт.pdf", mime="application/pdf"),
            "document",
            {"link": "https://x/1", "caption": "Да", "filename": "Счёт.pdf"},
        ),
        (FileInfo(url="https://x/a.webp"), "document", {"link": "https://x/a.webp", "caption": "Да"}),
    ],
)
def test_a_file_is_sent_by_link_or_by_id(file: FileInfo, kind: str, content: dict[str, str]) -> None:
    body = sent_json(text="Да", files=(file,))

    assert (body["type"], body[kind]) == (kind, content)


def test_a_caption_that_does_not_fit_is_refused() -> None:
    assert sent_json(text="x" * 1025, files=(FileInfo(url="https://x/a.jpg"),)).reason == "wa_caption_not_allowed"
    assert sent_json(text="x", files=(FileInfo(url="https://x/a.ogg"),)).reason == "wa_caption_not_allowed"
    assert sent_json(text="", files=(FileInfo(url="https://x/a.ogg"),))["type"] == "audio"


def test_the_call_uses_the_accounts_url_and_credentials() -> None:
    meta = PROVIDER.build_message_request(sample_delivery(), cloud_account())
    assert meta.url == "https://graph.facebook.com/v25.0/109000000000802/messages"
    assert meta.headers["authorization"] == f"Bearer {ACCESS_TOKEN}"

    simulator = cloud_account(base_url="https://waba-v2.360dialog.io/", auth_header="D360-API-KEY", id_in_path="no")
    made = PROVIDER.build_message_request(sample_delivery(), simulator)
    assert made.url == "https://waba-v2.360dialog.io/messages"
    assert made.headers["d360-api-key"] == ACCESS_TOKEN and "authorization" not in made.headers
    assert PROVIDER.fetch_templates(simulator).url.startswith("https://waba-v2.360dialog.io/v1/configs/templates?")


def test_a_message_is_marked_as_read() -> None:
    made = PROVIDER.build_read_receipt_request("wamid.1", cloud_account())

    assert json.loads(made.body) == {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1"}


def test_the_limits_of_the_number_and_of_each_contact_are_named() -> None:
    number, pair = PROVIDER.call_rates(sample_delivery(), cloud_account())

    assert (number.every, number.burst, number.whole_channel) == (1 / 80, 80, True)
    assert (pair.every, pair.burst, pair.whole_channel) == (6.0, 45, False)
    assert PROVIDER.call_rates(sample_delivery(), cloud_account(messages_per_second="20"))[0].every == 1 / 20
    assert PROVIDER.call_rates(sample_delivery(), cloud_account(messages_per_second="много"))[0].every == 1 / 80


# --- responses -------------------------------------------------------------------------------------------------


def judge(status: int, body: Any, headers: dict[str, str] | None = None) -> Outcome:
    raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome: Outcome = PROVIDER.judge_response(ApiResponse(status=status, headers=headers or {}, body=raw_body))
    return outcome


def error(code: Any, details: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": "(#1) Something", "code": code, "error_data": {"details": details}, **more}}


def test_an_accepted_message_has_an_id() -> None:
    body = json.dumps({"messages": [{"id": "wamid.1", "message_status": "accepted"}]}).encode()
    outcome = PROVIDER.judge_message_response(ApiResponse(status=200, headers={}, body=body))

    assert (outcome.verdict, outcome.external_id) == ("accepted", "wamid.1")


@pytest.mark.parametrize("code", graph_errors.CODES)
def test_an_error_code_is_classified_by_the_catalog_for_any_http_status(code: str) -> None:
    meaning = graph_errors.CODES[code]
    for status in (200, 400, 401, 403, 404, 429, 500, 503):
        outcome = judge(status, error(int(code), "why"))
        assert (outcome.verdict, outcome.reason) == (meaning.verdict, meaning.reason)
        assert (outcome.code, outcome.details) == (code, "why")


def test_an_unknown_code_is_shown_as_it_is() -> None:
    assert judge(400, error(139999)).reason == "provider_failed"
    assert judge(503, error(139999)).verdict == "retry"
    assert judge(400, error(139999, is_transient=True)).verdict == "retry"


def test_a_line_break_in_a_value_is_recognized_by_its_details() -> None:
    details = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"

    assert judge(400, error(100, details)).reason == "wa_template_values"
    assert judge(400, error(100, "Invalid parameter")).reason == "wa_invalid_request"


def test_errors_of_the_number_differ_from_errors_of_one_contact() -> None:
    assert (judge(429, error(130429)).whole_channel, judge(429, error(131056)).whole_channel) == (True, False)
    assert judge(429, error(130429), {"retry-after": "30"}).retry_after == 30


def test_a_proxys_error_page_leaves_the_outcome_unknown() -> None:
    assert judge(502, b"<html>Bad gateway</html>").verdict == "unknown"
    assert judge(401, b"Unauthorized").reason == "unauthorized"


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://lookaside.fbsbx.com.evil.example/x",
        "http://lookaside.fbsbx.com/x",
        "https://evil.example/lookaside.fbsbx.com",
        "https://lookaside.fbsbx.com:8443/x",
        "https://lookaside.fbsbx.com@evil.example/x",
        "//lookaside.fbsbx.com/x",
    ],
)
def test_the_token_is_not_sent_to_other_hosts(url: str) -> None:
    with pytest.raises(BadBody):
        PROVIDER.build_file_download_request(FileLocation(url=url), cloud_account())


def test_a_file_is_located_and_downloaded_with_the_token() -> None:
    request = PROVIDER.build_file_location_request("16/02", cloud_account())
    assert request.url == "https://graph.facebook.com/v25.0/16%2F02?phone_number_id=109000000000802"
    answer = {"url": "https://lookaside.fbsbx.com/x?mid=1", "mime_type": "image/jpeg", "file_size": "12", "sha256": "?"}
    place = PROVIDER.read_file_location(ApiResponse(status=200, headers={}, body=json.dumps(answer).encode()), None)

    assert (place.mime, place.size, place.sha256) == ("image/jpeg", 12, "")
    assert (
        PROVIDER.build_file_download_request(place, cloud_account()).headers["authorization"]
        == f"Bearer {ACCESS_TOKEN}"
    )
