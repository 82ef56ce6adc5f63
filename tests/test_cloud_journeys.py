"""Journeys over the Meta simulator: HTTP on both sides is real, and the test runs the workers' tasks itself."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from pytest_django.live_server_helper import LiveServer

from bridge.conversations import message_statuses, read_receipts
from bridge.files import inbound_downloads, uploads
from bridge.inbox import processing
from bridge.models import (
    Alert,
    Attachment,
    Attempt,
    Conversation,
    Delivery,
    Message,
    ProviderUpload,
    ServiceWindow,
    Upload,
)
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup import account_settings, checks, http_client
from channels_setup.models import ApiChannel, ChannelState, Credential
from channels_setup.providers.base import ApiRequest, ApiResponse, StatusChanged
from templates_registry.models import Status, Template
from templates_registry.provider import provider_sync
from tests.cloud_accounts import KIND
from tests.factories import boris, vera
from tests.pages import page_html
from tests.responses import change_responses
from tests.scenarios.meta_journeys import APP_SECRET, TOKEN, VERIFY, channel, meta, run_due_tasks, send_reply
from tests.simulators.meta import MetaSimulator
from tests.simulators.wire import as_sent, signature

__all__ = ["channel", "meta"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_message_and_its_reply_pass_with_statuses(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101", name="Анна")
    anna.writes("Здравствуйте! Сапоги есть?")
    run_due_tasks(meta)
    message = send_reply("Да, 38-й 🙌")
    run_due_tasks(meta)

    assert [sent.text for sent in anna.received] == ["Да, 38-й 🙌"]
    message.refresh_from_db()
    assert (message.status, message.external_id) == ("delivered", anna.received[0].id)
    assert anna.received[0].key == Delivery.objects.get(message=message).key
    contact = Conversation.objects.get().contact
    assert (contact.external_id, contact.phone, contact.user_id) == ("447700900101", "+447700900101", anna.user_id)
    assert ServiceWindow.objects.count() == 1


def test_duplicated_batched_and_shuffled_webhooks_store_each_message_once(
    meta: MetaSimulator, channel: ApiChannel
) -> None:
    meta.behave(batch=20, double=1.0, reorder=5)
    anna = meta.phone("447700900101")
    for number in range(20):
        anna.writes(f"строка {number}")
    run_due_tasks(meta)

    texts = Message.objects.filter(direction="inbound").values_list("text", flat=True)
    assert sorted(texts) == sorted(f"строка {number}" for number in range(20))


def test_a_status_that_precedes_the_response_finds_its_message(meta: MetaSimulator, channel: ApiChannel) -> None:
    meta.behave(statuses_first=True)
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    message = send_reply("Да")
    run_due_tasks(meta)

    message.refresh_from_db()
    assert message.status == "delivered"


def test_an_unknown_outcome_is_settled_by_its_status_and_not_sent_twice(
    meta: MetaSimulator, channel: ApiChannel
) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.behave(answer="cut", times=1)
    message = send_reply("Да")
    dispatcher.send_due_deliveries()
    message.refresh_from_db()
    before = message.status
    run_due_tasks(meta)

    message.refresh_from_db()
    assert (before, message.status) == ("unknown", "delivered")
    assert Delivery.objects.get(message=message).state == Delivery.State.DELIVERED
    assert len(anna.received) == 1


def test_a_refusal_is_shown_with_its_code_and_our_sentence(meta: MetaSimulator, channel: ApiChannel) -> None:
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    meta.behave(reject=131026, tell="answer", times=1)
    message = send_reply("Да")
    run_due_tasks(meta)

    message.refresh_from_db()
    assert (message.status, message.reason, message.details["code"]) == ("failed", "wa_undeliverable", "131026")
    assert "131026" in message.sentence


def test_a_failure_by_status_is_shown_the_same_way(meta: MetaSimulator, channel: ApiChannel) -> None:
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    meta.behave(fail=131047, times=1)
    message = send_reply("Да")
    run_due_tasks(meta)

    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "wa_window_closed")


def test_an_invalid_token_pauses_the_channel_and_a_new_one_resumes_it(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.access_token = "EAAnew-token-000000"
    message = send_reply("Да")
    run_due_tasks(meta)
    channel.refresh_from_db()
    paused = (channel.state, channel.last_error)

    account_settings.save_values(channel, {"access_token": "EAAnew-token-000000"})
    run_due_tasks(meta)

    assert paused == (ChannelState.PAUSED, "wa_token")
    message.refresh_from_db()
    assert message.status == "delivered" and len(anna.received) == 1


def test_a_locked_account_pauses_the_channel_until_it_is_resumed(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.behave(fail=131042, tell="status", times=1)
    first = send_reply("Да")
    run_due_tasks(meta)
    channel.refresh_from_db()
    paused = (channel.state, channel.last_error)
    second = send_reply("И ещё")
    run_due_tasks(meta)
    held = list(Delivery.objects.filter(message=second).values_list("state", "attempts"))

    channel.resume()
    # A late status from before the resumption must not pause the channel again.
    late = StatusChanged(
        status="failed",
        key=Delivery.objects.get(message=second).key,
        at=first.created_at - timedelta(minutes=1),
        reason="wa_account_setup",
    )
    message_statuses.apply_statuses(channel, [late])
    channel.refresh_from_db()

    assert paused == (ChannelState.PAUSED, "wa_account_setup")
    assert held == [("pending", 0)]
    assert channel.state != ChannelState.PAUSED
    assert Alert.objects.filter(kind=Alert.Kind.SWITCHED_OFF, details={"why_code": "wa_account_setup"}).exists()


@pytest.mark.parametrize("reported_by", ["answer", "status"])
@pytest.mark.parametrize(("code", "becomes"), [(132015, Status.PAUSED), (132016, Status.DISABLED)])
def test_a_template_stopped_by_meta_gets_its_status_from_any_report(
    meta: MetaSimulator, channel: ApiChannel, reported_by: str, code: int, becomes: str
) -> None:
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    meta.add_template("order_ready", language="ru")
    provider_sync.sync_channel(channel)
    meta.behave(fail=code, tell=reported_by, times=1)
    template = Template.objects.get()
    submitted = reply_submission.submit_template_reply(
        conversation_id=Conversation.objects.get().pk, template_id=template.pk, parameters=["Анна", "42"], author=vera()
    )
    run_due_tasks(meta)

    assert submitted.message is not None
    submitted.message.refresh_from_db()
    template.refresh_from_db()
    channel.refresh_from_db()
    assert (submitted.message.status, submitted.message.details["code"]) == ("failed", str(code))
    assert submitted.message.external_id if reported_by == "status" else not submitted.message.external_id
    assert template.status == becomes and channel.state != ChannelState.PAUSED
    assert template.events.first().source == "provider"


def test_one_clients_pair_limit_does_not_delay_others(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna, oleg = meta.phone("447700900101"), meta.phone("447700900102", name="Олег")
    anna.writes("?")
    oleg.writes("?")
    run_due_tasks(meta)
    meta.behave(reject=131056, times=1)
    for conversation in Conversation.objects.order_by("pk"):
        reply_submission.submit_reply(conversation_id=conversation.pk, text="Да", author=vera())
    run_due_tasks(meta)

    # On a slow machine the rest of the second may be over before the other client's message is sent.
    assert [one for one in (anna, oleg) if one.received]
    refused = Attempt.objects.get(reason="wa_pair_limit").delivery
    (other,) = Delivery.objects.filter(kind=Delivery.Kind.MESSAGE).exclude(pk=refused.pk)
    assert (other.state, other.attempts) == (Delivery.State.DELIVERED, 1)
    assert refused.attempts > 1 or refused.reason == "wa_pair_limit"


def test_a_picture_is_downloaded_checked_and_shown(meta: MetaSimulator, channel: ApiChannel, client: Client) -> None:
    anna = meta.phone("447700900101")
    anna.sends_image(b"\xff\xd8\xff picture", caption="Вот такие")
    run_due_tasks(meta)
    assert Attachment.objects.get().state == "waiting"
    assert inbound_downloads.download_due_files() == 1

    attachment = Attachment.objects.get()
    assert (attachment.state, attachment.mime) == ("available", "image/jpeg")
    assert attachment.file.read() == b"\xff\xd8\xff picture"
    client.force_login(boris(channel.default_chat_channel))
    assert b"".join(client.get(f"/files/{attachment.pk}/").streaming_content) == b"\xff\xd8\xff picture"


@pytest.mark.parametrize(
    ("behavior", "state", "error"),
    [
        ("gone", "waiting", "file_gone"),
        ("wrong_bytes", "waiting", "file_corrupted"),
        ("short", "waiting", "file_corrupted"),
        ("500", "waiting", "destination_error"),
        ("stranger", "waiting", "file_host_not_allowed"),
    ],
)
def test_a_failed_download_leaves_a_placeholder(
    meta: MetaSimulator, channel: ApiChannel, client: Client, behavior: str, state: str, error: str
) -> None:
    meta.behave(media=behavior)
    meta.phone("447700900101").sends_image(b"\xff\xd8\xff picture")
    run_due_tasks(meta)
    inbound_downloads.download_due_files()

    attachment = Attachment.objects.get()
    assert (attachment.state, attachment.error, attachment.file.name) == (state, error, "")
    client.force_login(boris(channel.default_chat_channel))
    page = client.get(f"/chats/{Conversation.objects.get().pk}/").content.decode()
    assert attachment.name in page
    Attachment.objects.update(due_at="2020-01-01T00:00Z", tries=50)
    inbound_downloads.download_due_files()
    assert Attachment.objects.get().state == "failed"
    meta.behave(media="right")
    again = client.post(f"/chats/{Conversation.objects.get().pk}/files/{attachment.pk}/fetch/")
    assert again.status_code in (200, 204, 302)
    assert inbound_downloads.download_due_files() == 1


def test_the_connection_check_names_the_account_and_missing_settings(meta: MetaSimulator, channel: ApiChannel) -> None:
    found = {finding.level: finding.sentence for finding in checks.check_connection(channel)}
    assert "error" not in found
    channel.refresh_from_db()
    assert channel.provider_status["quality"] == "GREEN" and channel.provider_status["limit"] == "TIER_2K"
    assert channel.provider_status["name"] == "Магазин сапог"

    meta.access_token = "another"
    wrong = [finding.sentence for finding in checks.check_connection(channel) if finding.level == "error"]
    assert len(wrong) == 1, "one cause is reported once, however many checks fail because of it"


def test_a_wrong_app_secret_is_reported_until_an_event_is_accepted(
    meta: MetaSimulator, channel: ApiChannel, client: Client
) -> None:
    client.force_login(vera())
    page = f"/admin/channels_setup/apichannel/{channel.pk}/change/"
    meta.webhook_sender.app_secret = "of another app"
    meta.phone("447700900101").writes("Есть кто?")
    until = time.monotonic() + 15
    while "refused_at" not in ApiChannel.objects.get().provider_status and time.monotonic() < until:
        time.sleep(0.05)

    channel.refresh_from_db()
    with translation.override("en"):
        wrong = [finding.sentence for finding in checks.check_connection(channel) if finding.level == "error"]
    assert len(wrong) == 1 and "signature is wrong" in wrong[0]
    assert "wrong signature" in client.get(page, headers={"accept-language": "en"}).content.decode()

    meta.webhook_sender.app_secret = APP_SECRET
    meta.phone("447700900101").writes("Есть кто?")
    meta.quiet()

    channel.refresh_from_db()
    assert "error" not in [finding.level for finding in checks.check_connection(channel)]
    assert "wrong signature" not in page_html(client, page, headers={"accept-language": "en"})


def test_templates_are_synced_from_the_list_and_by_webhooks(meta: MetaSimulator, channel: ApiChannel) -> None:
    theirs = meta.add_template("order_ready", language="ru")
    assert provider_sync.sync_channel(channel).new == 1
    template = Template.objects.get()
    meta.review(theirs, "PAUSED", reason="NONE")
    meta.grade(theirs, "RED")
    meta.recategorize(theirs, "MARKETING")
    run_due_tasks(meta)

    template.refresh_from_db()
    assert (template.status, template.quality, template.category) == (Status.PAUSED, "RED", "MARKETING")
    assert template.external_id == theirs.id


def test_a_template_is_sent_with_its_values_after_the_window_closes(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.add_template("order_ready", language="ru")
    provider_sync.sync_channel(channel)
    meta.later(hours=25)
    ServiceWindow.objects.all().delete()
    handed = reply_submission.submit_template_reply(
        conversation_id=Conversation.objects.get().pk,
        template_id=Template.objects.get().pk,
        parameters=["Анна", "№ 42"],
        author=vera(),
    )
    run_due_tasks(meta)

    assert handed.message is not None
    handed.message.refresh_from_db()
    assert handed.message.status == "delivered"
    assert anna.received[0].text == "Здравствуйте, Анна! Заказ № 42 готов к выдаче."


def test_a_client_quotes_reacts_edits_deletes_and_changes_the_number(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    first = anna.writes("Сапоги есть?")
    run_due_tasks(meta)
    ours = send_reply("Да, 38-й")
    run_due_tasks(meta)
    ours.refresh_from_db()
    anna.sends("text", {"body": "Эти?"}, reply_to=ours.external_id)
    anna.reacts("👍", to=ours.external_id)
    anna.edits(first, "Ботинки есть?")
    anna.revokes(first)
    anna.changes_number("447700900111")
    run_due_tasks(meta)

    ours.refresh_from_db()
    assert ours.reactions == [{"by": "client", "emoji": "👍"}]
    assert Message.objects.get(text="Эти?").quoted == ours
    edited = Message.objects.get(external_id=first)
    assert (edited.text, edited.shown["former"]) == ("Ботинки есть?", ["Сапоги есть?"])
    assert edited.shown["revoked_at"]
    conversation = Conversation.objects.get()
    assert conversation.contact.phone == "+447700900111"
    assert Message.objects.filter(direction="notice", reason="contact_changed").count() == 1


def test_a_message_from_our_phone_is_outbound(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("Сапоги есть?")
    run_due_tasks(meta)
    meta.echo(anna, "Отвечаю с телефона")
    run_due_tasks(meta)

    echo = Message.objects.get(direction="outbound")
    assert (echo.text, echo.status, echo.shown["from_phone"]) == ("Отвечаю с телефона", "sent", True)
    assert not Delivery.objects.exists()


def test_the_command_line_creates_a_working_channel(
    meta: MetaSimulator, live_server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command(
        *("channel", "add", "--kind", KIND, "--name", "WhatsApp", "--chat-channel", "Магазин"),
        *("--phone-number-id", meta.phone_number_id, "--waba-id", meta.waba_id, "--access-token", TOKEN),
        *("--app-secret", APP_SECRET, "--verify-token", VERIFY, "--base-url", meta.url, "--output", "json"),
    )
    printed = capsys.readouterr().out
    made = json.loads(printed)

    assert TOKEN not in printed and APP_SECRET not in printed
    stored = [bytes(row.token) for row in Credential.objects.all()]
    assert stored and not any(TOKEN.encode() in token for token in stored)
    path = made["webhook_url"].removeprefix(django_settings.PUBLIC_URL.rstrip("/"))
    assert meta.connect(f"{live_server.url}{path}")
    meta.phone("447700900101").writes("Здравствуйте")
    run_due_tasks(meta)
    assert Message.objects.get().text == "Здравствуйте"
    assert ApiChannel.objects.get().state == ChannelState.LIVE


def test_a_client_sees_read_receipts(meta: MetaSimulator, channel: ApiChannel, client: Client) -> None:
    first = meta.phone("447700900101").writes("Здравствуйте")
    run_due_tasks(meta)

    assert read_receipts.send_read_receipt(Conversation.objects.get().pk)
    assert meta.marked_read == [first]


def test_account_updates_are_shown_on_the_channels_page(
    meta: MetaSimulator, channel: ApiChannel, client: Client
) -> None:
    meta.send_account_update("phone_number_quality_update", {"event": "FLAGGED", "current_limit": "TIER_2K"})
    violation = {"violation_type": "ADULT"}
    meta.send_account_update("account_update", {"event": "ACCOUNT_VIOLATION", "violation_info": violation})
    run_due_tasks(meta)
    checks.check_connection(channel)
    client.force_login(vera())
    page = client.get(f"/admin/channels_setup/apichannel/{channel.pk}/change/", headers={"accept-language": "en"})

    text = page.content.decode()
    assert "ACCOUNT_VIOLATION" in text and "ADULT" in text and "FLAGGED" in text
    assert "Магазин сапог" in text and "2 000" in text
    for secret in (TOKEN, APP_SECRET, VERIFY):
        assert secret not in text


def test_the_form_keeps_empty_secrets_and_replaces_given_ones(
    meta: MetaSimulator, channel: ApiChannel, client: Client
) -> None:
    client.force_login(vera())
    url = f"/admin/channels_setup/apichannel/{channel.pk}/change/"
    form = client.get(url).context["adminform"].form
    initial = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    posted = {name: value for name, value in initial.items() if value not in (None, False)}
    posted |= {"watched": [channel.default_chat_channel.pk], "account_access_token": "EAAreplaced-0000000000"}  # type: ignore[union-attr]  # it watches one
    response = client.post(url, posted)

    assert response.status_code == 302, response.context["errors"]
    assert "Access token" in LogEntry.objects.get().change_message  # once, and no setting by its internal name
    account = ApiChannel.objects.get(pk=channel.pk).account()
    assert account.credential("access_token") == "EAAreplaced-0000000000"
    assert account.credentials["app_secret"] == (APP_SECRET,)
    assert account.options["phone_number_id"] == meta.phone_number_id


@pytest.mark.parametrize("count", [1, 1000])
def test_a_webhook_is_stored_in_the_same_number_of_statements_for_any_size(
    meta: MetaSimulator, channel: ApiChannel, client: Client, count: int
) -> None:
    items = [
        {
            "from": "447700900101",
            "id": f"wamid.{number}",
            "timestamp": "1795334407",
            "type": "text",
            "text": {"body": "?"},
        }
        for number in range(count)
    ]
    value = {"metadata": {"phone_number_id": meta.phone_number_id}, "messages": items}
    body = as_sent({"entry": [{"id": meta.waba_id, "changes": [{"field": "messages", "value": value}]}]})
    headers = {"x-hub-signature-256": signature(body, APP_SECRET)}
    path = channel.webhook_path
    with CaptureQueriesContext(connection) as queries:
        response = client.post(path, body, content_type="application/json", headers=headers)
    processing.process_inbox()

    assert response.status_code == 200
    assert len(queries) == 4, [row["sql"][:80] for row in queries]  # including the statement that stores the event
    assert Message.objects.count() == count


def test_a_thousand_messages_take_few_more_statements_than_a_hundred(
    meta: MetaSimulator, channel: ApiChannel, client: Client
) -> None:
    def statements_for(count: int, first: int) -> int:
        each = {"from": "447700900101", "timestamp": "1795334407", "type": "text", "text": {"body": "?"}}
        items = [each | {"id": f"wamid.{first + number}"} for number in range(count)]
        ticks = [{"id": f"wamid.out{item['id']}", "status": "read", "timestamp": "1795334407"} for item in items]
        value = {"metadata": {"phone_number_id": meta.phone_number_id}, "messages": items, "statuses": ticks}
        body = as_sent({"entry": [{"id": meta.waba_id, "changes": [{"field": "messages", "value": value}]}]})
        headers = {"x-hub-signature-256": signature(body, APP_SECRET)}
        response = client.post(channel.webhook_path, body, content_type="application/json", headers=headers)
        assert response.status_code == 200
        with CaptureQueriesContext(connection) as queries:
            processing.process_inbox()
        return len(queries)

    statements_for(1, first=0)  # creates the chat
    hundred, thousand = statements_for(100, first=1), statements_for(1000, first=101)

    assert Message.objects.count() == 1101
    assert thousand <= hundred + 20, (hundred, thousand)


# --- files to the client ---------------------------------------------------------------------------------

JPEG = b"\xff\xd8\xff boots"


def our_upload(channel: ApiChannel, name: str = "boots.jpg", content: bytes = JPEG) -> Upload:
    conversation = Conversation.objects.get()
    return uploads.save_upload(
        conversation, SimpleUploadedFile(name, content), author=boris(channel.default_chat_channel)
    )


def upload_count(meta: MetaSimulator) -> int:
    return len([called for called in meta.api_calls if called.path.endswith("/media")])


def sent_as(meta: MetaSimulator, kind: str) -> dict[str, Any]:
    bodies = [called.json for called in meta.api_calls if called.path.endswith("/messages")]
    found: dict[str, Any] = next(body[kind] for body in bodies if body.get("type") == kind)
    return found


def test_a_file_is_uploaded_to_meta_and_sent_by_its_id(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    message = send_reply("Вот такие", uploads=[our_upload(channel)])
    run_due_tasks(meta)

    message.refresh_from_db()
    [sent] = anna.received
    assert (message.status, sent.kind, sent.body["image"]["caption"]) == ("delivered", "image", "Вот такие")
    medium = meta.media.media[sent.body["image"]["id"]]
    assert (medium.data, medium.mime, medium.name) == (JPEG, "image/jpeg", "boots.jpg")


def test_a_file_is_uploaded_once_while_meta_keeps_it(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    for _ in range(2):
        send_reply("", uploads=[our_upload(channel)])
        run_due_tasks(meta)
    once = upload_count(meta)
    ProviderUpload.objects.update(expires_at=timezone.now())
    send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)

    assert (once, upload_count(meta)) == (1, 2)
    assert [sent.kind for sent in anna.received] == ["image"] * 3
    assert ProviderUpload.objects.get().expires_at > timezone.now() + timedelta(days=28)


def test_with_links_nothing_is_uploaded_to_meta(meta: MetaSimulator, channel: ApiChannel) -> None:
    account_settings.save_values(channel, {"files_go": "link"})
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)

    assert upload_count(meta) == 0 and set(sent_as(meta, "image")) == {"link"}


def test_a_message_that_failed_after_its_upload_does_not_upload_again(meta: MetaSimulator, channel: ApiChannel) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.behave(reject=131016, times=1)
    send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)
    waits = Delivery.objects.get().state
    Delivery.objects.update(next_attempt_at=timezone.now())
    run_due_tasks(meta)

    assert (waits, upload_count(meta), len(anna.received)) == ("pending", 1, 1)


def test_an_interrupted_upload_sends_nothing_and_is_repeated(
    meta: MetaSimulator, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    times: list[int] = []

    def break_off(request: ApiRequest, response: ApiResponse) -> ApiResponse:
        if request.url.endswith("/media"):
            times.append(1)
            if len(times) == 1:
                raise http_client.NoResponse
        return response

    change_responses(monkeypatch, break_off)
    message = send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)
    message.refresh_from_db()
    before = (Delivery.objects.get().state, Delivery.objects.get().reason)
    Delivery.objects.update(next_attempt_at=timezone.now())
    run_due_tasks(meta)

    message.refresh_from_db()
    assert before == ("pending", "destination_error")  # and not "may have been sent"
    assert (message.status, len(anna.received)) == ("delivered", 1)


def test_a_file_that_meta_rejects_fails_and_is_uploaded_again_on_resend(
    meta: MetaSimulator, channel: ApiChannel
) -> None:
    anna = meta.phone("447700900101")
    anna.writes("?")
    run_due_tasks(meta)
    meta.behave(fail=131053, tell="status", times=1)
    message = send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)
    send_reply("", uploads=[our_upload(channel)])
    run_due_tasks(meta)

    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "wa_file_rejected")
    assert upload_count(meta) == 2


def test_a_file_type_that_meta_does_not_accept_is_sent_by_link(meta: MetaSimulator, channel: ApiChannel) -> None:
    meta.phone("447700900101").writes("?")
    run_due_tasks(meta)
    send_reply("", uploads=[our_upload(channel, "price.csv", b"a;b")])
    run_due_tasks(meta)

    assert upload_count(meta) == 0 and "link" in sent_as(meta, "document")
