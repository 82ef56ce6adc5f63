"""The admin and the start page: access, actions, one-time secrets, and the cost of lists."""

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from bridge import outcomes
from bridge.admin import channel_stats
from bridge.channel_health import alerts
from bridge.maintenance import housekeeping
from bridge.models import Alert, Attempt, Conversation, Delivery, Message, WebhookEvent
from channels_setup.models import ApiChannel, ChannelState, ChatChannel, Handover
from config.accounts.models import User
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import TemplateEvent
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ContactFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    TemplateFactory,
    TicketFactory,
    UserFactory,
    boris,
    copies,
    gleb,
    vera,
)
from tests.pages import list_queries, page_html
from tests.scenarios.secret_traces import current_key

pytestmark = pytest.mark.django_db
HISTORY = (
    *("contact", "conversation", "ticket", "servicewindow", "message"),
    *("delivery", "webhookevent", "straystatus", "alert", "heartbeat"),
)


@pytest.fixture
def browser_of_vera() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


def page_of(channel: ApiChannel) -> str:
    return reverse("admin:channels_setup_apichannel_change", args=[channel.pk])


def press(client: Client, channel: ApiChannel, action: str) -> Any:
    return client.post(reverse("admin:channels_setup_apichannel_action", args=[channel.pk, action]), follow=True)


def filled_form(**changed: Any) -> dict[str, Any]:
    return {
        "name": "WhatsApp",
        "kind": "acebot",
        "redirect_url": "http://127.0.0.1:8080/hook",
        "send_json": "on",
        "send_utf8": "on",
        "on_unknown": "resend",
        "watched": [ChatChannelFactory().pk],
        "track_message": "on",
        **changed,
    }


# --- channels ---------------------------------------------------------------------------------------------


def test_the_channel_form_has_the_four_blocks_of_the_guide(browser_of_vera: Client) -> None:
    add = reverse("admin:channels_setup_apichannel_add")

    page = browser_of_vera.get(add).content.decode()

    for words in ("The channel itself", "Watch channels", "Tracking requests", "Tracking chats", "JSON request"):
        assert words in page


def test_a_saved_channel_shows_its_key_once_and_masks_it_later(browser_of_vera: Client) -> None:
    add = reverse("admin:channels_setup_apichannel_add")

    first = browser_of_vera.post(add, filled_form(), follow=True).content.decode()
    second = browser_of_vera.get(page_of(ApiChannel.objects.get())).content.decode()

    channel = ApiChannel.objects.get()
    key = current_key(channel)
    assert key in first and str(channel.app_id) in first
    assert key not in second and f"••••{key[-4:]}" in second
    assert channel.current_secret().shown_at is not None  # type: ignore[union-attr]  # it was issued


def test_only_the_admin_who_made_the_channel_sees_the_fresh_key(browser_of_vera: Client) -> None:
    browser_of_vera.post(reverse("admin:channels_setup_apichannel_add"), filled_form())
    channel = ApiChannel.objects.get()
    colleague = Client()
    colleague.force_login(UserFactory(username="olga", is_staff=True, is_superuser=True))

    page = page_html(colleague, page_of(channel))

    assert current_key(channel) not in page


def test_invalid_input_is_reported_at_its_field_and_nothing_is_saved(browser_of_vera: Client) -> None:
    bad = filled_form(redirect_url="https://10.0.0.1/", watched=[])

    page = browser_of_vera.post(reverse("admin:channels_setup_apichannel_add"), bad).content.decode()

    assert "The address is private" in page and "Without a chat channel" in page
    assert not ApiChannel.objects.exists()


def test_the_provider_of_an_existing_channel_cannot_be_changed(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", secret=True, state=ChannelState.WAITING)

    browser_of_vera.post(page_of(channel), filled_form(kind="sandbox", name="Renamed"))

    channel.refresh_from_db()
    assert (channel.name, channel.kind) == ("Renamed", "acebot")


def test_viewing_the_key_is_recorded_without_the_key(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(secret=True)

    page = press(browser_of_vera, channel, "show-key").content.decode()

    key = current_key(channel)
    entry = LogEntry.objects.get()
    assert key in page
    assert entry.user.username == "vera" and "shown" in entry.change_message and key not in entry.change_message
    assert "no-store" in browser_of_vera.get(page_of(channel))["Cache-Control"]


def test_no_page_shows_the_key_unless_asked(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", secret=True)
    key = current_key(channel)
    pages = [
        page_of(channel),
        reverse("admin:channels_setup_apichannel_changelist"),
        reverse("admin:channels_setup_apichannel_history", args=[channel.pk]),
        reverse("admin:channels_setup_apichannel_delete", args=[channel.pk]),
        "/",
    ]
    press(browser_of_vera, channel, "show-key")

    for address in pages:
        assert key not in page_html(browser_of_vera, address), address


def test_a_new_key_overlaps_with_the_old_one_until_the_old_one_is_revoked(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(secret=True)
    old = current_key(channel)

    page = press(browser_of_vera, channel, "new-key").content.decode()
    new = current_key(channel)
    both = [ApiChannel.objects.all().by_secret(key) for key in (old, new)]
    again = press(browser_of_vera, channel, "new-key").content.decode()
    press(browser_of_vera, channel, "stop-old-key")

    assert new in page and old not in page
    assert both == [channel, channel]
    assert "Two keys are valid." in again and current_key(channel) == new
    assert ApiChannel.objects.all().by_secret(old) is None


def test_actions_require_post(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(secret=True)

    answer = browser_of_vera.get(reverse("admin:channels_setup_apichannel_action", args=[channel.pk, "show-key"]))

    assert answer.status_code == 302 and current_key(channel) not in answer.content.decode()
    assert browser_of_vera.post(f"{page_of(channel)[:-7]}actions/nonsense/").status_code == 404


def test_actions_require_the_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(vera())
    channel = ApiChannelFactory(secret=True)

    assert press(client, channel, "pause").status_code == 403

    channel.refresh_from_db()
    assert channel.state == ChannelState.LIVE


def test_buttons_change_the_channel_state(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.DRAFT, secret=True)
    states = []

    for action in ("sent-for-verification", "verified", "pause", "resume"):
        press(browser_of_vera, channel, action)
        channel.refresh_from_db()
        states.append(channel.state)

    assert states == ["verifying", "waiting", "paused", "waiting"]


def test_the_handover_link_is_shown_once_and_not_stored(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.DRAFT, secret=True)

    page = press(browser_of_vera, channel, "hand-over").content.decode()

    token = page.split("/handover/")[1].split("/")[0]
    assert Handover.by_token(token) == Handover.objects.get()
    assert token not in page_html(browser_of_vera, page_of(channel))
    assert token not in json.dumps(list(LogEntry.objects.values_list("change_message", flat=True)))
    assert token not in json.dumps(dict(browser_of_vera.session))


def test_the_channel_page_shows_recent_failures_and_traffic(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:8080/", secret=True)
    chat = ConversationFactory(api_channel=channel)
    MessageFactory(conversation=chat)
    dead = DeliveryFactory(message=MessageFactory(conversation=chat, outbound=True), state="dead", reason="gone")
    Attempt.objects.create(
        delivery=dead, number=1, started_at=timezone.now(), duration_ms=210, http_status=410, verdict="permanent"
    )
    channel.record_failure("gone")

    page = browser_of_vera.get(page_of(channel)).content.decode()

    assert "this address is no longer used" in page
    assert "was not delivered" in page and "210 ms" in page and "<svg" in page


def test_a_new_chat_channel_redirects_to_the_page_with_its_number(browser_of_vera: Client) -> None:
    answer = browser_of_vera.post(
        reverse("admin:channels_setup_chatchannel_add"),
        {"name": "Shop", "kind": "desk", "company_id": "1"},
        follow=True,
    )

    chat_channel = ChatChannel.objects.get()
    assert f'data-copy="{chat_channel.pk}"' in answer.content.decode()


# --- history ----------------------------------------------------------------------------------------------


@pytest.fixture
def history() -> Conversation:
    """Create one row of every history model."""
    chat: Conversation = ConversationFactory(api_channel__kind="acebot")
    ServiceWindowFactory(conversation=chat)
    TicketFactory(conversation=chat)
    message = MessageFactory(conversation=chat, outbound=True, status="failed", text="<script>alert(1)</script>")
    DeliveryFactory(message=message, state="dead", reason="rejected")
    WebhookEvent.objects.create(
        api_channel=chat.api_channel,
        endpoint="webhook",
        body=b'{"status": "sunk", "note": "<script>"}',
        state="failed",
        error="Unknown status",
    )
    housekeeping.record_heartbeat("beat")
    alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=chat.api_channel_id)
    return chat


@pytest.mark.parametrize("model", HISTORY)
def test_history_can_be_viewed_but_not_edited(browser_of_vera: Client, history: Conversation, model: str) -> None:
    rows = browser_of_vera.get(reverse(f"admin:bridge_{model}_changelist"))
    first = next(m for m in admin.site._registry if m._meta.label_lower == f"bridge.{model}").objects.first()

    assert rows.status_code == 200
    assert browser_of_vera.get(reverse(f"admin:bridge_{model}_add")).status_code == 403
    if first is not None:
        change = reverse(f"admin:bridge_{model}_change", args=[first.pk])
        page = browser_of_vera.get(change)
        assert page.status_code == 200 and b'name="_save"' not in page.content and b"<script>alert" not in page.content
        assert browser_of_vera.post(change, {"text": "changed"}).status_code == 403
        assert browser_of_vera.post(reverse(f"admin:bridge_{model}_delete", args=[first.pk])).status_code == 403


def test_a_dead_delivery_is_resent_from_its_page(browser_of_vera: Client, history: Conversation) -> None:
    delivery = Delivery.objects.get()

    page = browser_of_vera.post(reverse("admin:bridge_delivery_action", args=[delivery.pk, "resend"]), follow=True)

    delivery.refresh_from_db()
    assert delivery.state == "pending" and "queued again" in page.content.decode()
    assert Message.objects.get(pk=delivery.message_id).status == "pending"


def test_dead_deliveries_are_resent_from_the_list(browser_of_vera: Client, history: Conversation) -> None:
    chosen = {"action": "resend", "_selected_action": [Delivery.objects.get().pk]}

    browser_of_vera.post(reverse("admin:bridge_delivery_changelist"), chosen)

    assert Delivery.objects.get().state == "pending"


def test_a_delivered_message_is_not_resent(browser_of_vera: Client) -> None:
    delivery = DeliveryFactory(state="delivered")

    page = browser_of_vera.post(reverse("admin:bridge_delivery_action", args=[delivery.pk, "resend"]), follow=True)

    delivery.refresh_from_db()
    assert delivery.state == "delivered" and "Only failed, canceled or unknown" in page.content.decode()


def test_a_failed_event_is_reprocessed_but_a_failed_api_call_is_not(
    browser_of_vera: Client, history: Conversation
) -> None:
    event = WebhookEvent.objects.get()
    call = WebhookEvent.objects.create(
        api_channel=history.api_channel, endpoint="addMessage", body=b"{}", state="failed", error="x"
    )
    chosen = {"action": "reprocess", "_selected_action": [event.pk, call.pk]}

    browser_of_vera.post(reverse("admin:bridge_webhookevent_changelist"), chosen)

    states = dict(WebhookEvent.objects.values_list("pk", "state"))
    assert states == {event.pk: "new", call.pk: "failed"}


def test_a_resolved_failed_event_keeps_its_error_and_ends_its_warning(
    browser_of_vera: Client, history: Conversation
) -> None:
    call = WebhookEvent.objects.create(
        api_channel=history.api_channel, endpoint="addMessage", body=b"{}", state="failed", error="No such channel."
    )
    page = browser_of_vera.get(reverse("admin:bridge_webhookevent_change", args=[call.pk])).content.decode()

    chosen = {"action": "dismiss", "_selected_action": list(WebhookEvent.objects.values_list("pk", flat=True))}
    answered = browser_of_vera.post(reverse("admin:bridge_webhookevent_changelist"), chosen, follow=True)
    call.refresh_from_db()

    assert "Mark as resolved" in page and "Process again" not in page
    assert "2 events are marked as resolved." in answered.content.decode()
    assert (call.state, call.error) == ("processed", "No such channel.") and call.processed_at is not None
    assert not any("could not be read" in sentence for sentence in warning_sentences(browser_of_vera))


def test_a_helpdesk_event_names_its_chat_channel(browser_of_vera: Client) -> None:
    chat_channel = ChatChannelFactory(name="Usedesk на Лиговском")
    event = WebhookEvent.objects.create(chat_channel=chat_channel, body=b"{}")

    listed = browser_of_vera.get(reverse("admin:bridge_webhookevent_changelist")).content.decode()
    page = browser_of_vera.get(reverse("admin:bridge_webhookevent_change", args=[event.pk])).content.decode()

    assert re.search(r"field-channel[^>]*>\s*Usedesk на Лиговском", listed)
    assert "Usedesk на Лиговском" in page


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5_000, b'{"a": "\\ud800"}', b""])
def test_any_raw_body_can_be_shown(browser_of_vera: Client, history: Conversation, body: bytes) -> None:
    event = WebhookEvent.objects.get()
    WebhookEvent.objects.filter(pk=event.pk).update(body=body)

    assert browser_of_vera.get(reverse("admin:bridge_webhookevent_change", args=[event.pk])).status_code == 200


# --- who gets in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", HISTORY)
def test_operators_cannot_enter_the_admin(history: Conversation, model: str) -> None:
    client = Client()
    client.force_login(boris(history.chat_channel))

    assert client.get(reverse(f"admin:bridge_{model}_changelist")).status_code == 302


@pytest.mark.parametrize("model", ["contact", "conversation", "ticket", "servicewindow", "message", "delivery"])
def test_an_operator_with_staff_status_sees_only_their_chat_channels(history: Conversation, model: str) -> None:
    client = Client(headers={"accept-language": "en"})
    mine, other = boris(history.chat_channel), gleb()
    User.objects.filter(pk__in=[mine.pk, other.pk]).update(is_staff=True)
    address = reverse(f"admin:bridge_{model}_changelist")

    seen = {}
    for person in (mine, other):
        client.force_login(person)
        seen[person.username] = client.get(address).context["cl"].result_list.count()

    assert seen == {"boris": 1, "gleb": 0}


def test_an_operator_with_staff_status_cannot_act_or_see_channels(history: Conversation) -> None:
    client = Client()
    operator = boris(history.chat_channel)
    User.objects.filter(pk=operator.pk).update(is_staff=True)
    client.force_login(operator)
    channel, delivery = history.api_channel, Delivery.objects.get()

    answers = [
        client.get(page_of(channel)),
        press(client, channel, "show-key"),
        press(client, channel, "hand-over"),
        client.post(reverse("admin:bridge_delivery_action", args=[delivery.pk, "resend"])),
        client.get(reverse("admin:bridge_webhookevent_changelist")),
        client.get(reverse("admin:accounts_user_changelist")),
    ]

    assert [answer.status_code for answer in answers] == [403] * 6
    page = client.get(reverse("admin:bridge_delivery_change", args=[delivery.pk]))
    assert page.status_code == 200 and "field-content" not in page.content.decode()


def test_an_admin_can_neither_become_nor_edit_a_superuser(browser_of_vera: Client) -> None:
    chief = UserFactory(username="chief", is_superuser=True, is_staff=True)
    me = User.objects.get(username="vera")

    page = page_html(browser_of_vera, reverse("admin:accounts_user_change", args=[me.pk]))
    touched = browser_of_vera.post(reverse("admin:accounts_user_change", args=[chief.pk]), {"username": "taken"})
    password = browser_of_vera.get(reverse("admin:auth_user_password_change", args=[chief.pk]))

    assert 'name="is_superuser"' not in page and 'name="user_permissions"' not in page
    assert touched.status_code == 403 and password.status_code == 403


def test_an_admin_adds_an_operator_with_channels_and_changes_them_later(browser_of_vera: Client) -> None:
    shop, wholesale = ChatChannelFactory(), ChatChannelFactory()
    words = {"username": "olga", "password1": "a-long-Word-17", "password2": "a-long-Word-17", "first_name": "Ольга"}

    made = browser_of_vera.post(
        reverse("admin:accounts_user_add"), words | {"role": "operator", "chat_channels": [shop.pk]}
    )

    assert made.status_code == 302
    olga = User.objects.get(username="olga")
    assert (olga.is_staff, [group.name for group in olga.groups.all()]) == (False, ["Operator"])
    assert list(olga.chat_channels.all()) == [shop] and olga.check_password("a-long-Word-17")
    page = reverse("admin:accounts_user_change", args=[olga.pk])
    form_values = {"username": "olga", "first_name": "Ольга", "is_active": "on", "chat_channels": [wholesale.pk]}
    assert browser_of_vera.post(page, form_values | {"role": "operator"}).status_code == 302
    assert list(olga.chat_channels.all()) == [wholesale]
    assert browser_of_vera.post(page, form_values | {"role": "admin"}).status_code == 302
    olga.refresh_from_db()
    assert (olga.is_staff, [group.name for group in olga.groups.all()]) == (True, ["Admin"])
    assert "is_superuser" not in page_html(browser_of_vera, page)


def test_an_admin_may_view_a_superuser_and_a_superuser_may_view_everybody(
    client: Client, browser_of_vera: Client
) -> None:
    chief = UserFactory(username="chief", is_superuser=True, is_staff=True)
    page = reverse("admin:accounts_user_change", args=[chief.pk])
    assert browser_of_vera.get(page).status_code == 200
    client.force_login(chief)

    answer = client.get(page)

    assert answer.status_code == 200 and 'name="is_superuser"' in answer.content.decode()
    assert client.get(reverse("admin:accounts_user_changelist")).status_code == 200


# --- quick with ten million rows --------------------------------------------------------------------------


def queries_of(client: Client, address: str) -> list[str]:
    client.get(address)  # warms the caches of sessions, content types and permissions
    return list_queries(client, address)


@pytest.mark.parametrize("model", HISTORY)
def test_lists_run_no_count_and_no_query_per_row(browser_of_vera: Client, history: Conversation, model: str) -> None:
    address = reverse(f"admin:bridge_{model}_changelist")
    before = queries_of(browser_of_vera, address)
    for _more in range(3):
        chat = ConversationFactory(api_channel=history.api_channel)
        ServiceWindowFactory(conversation=chat)
        TicketFactory(conversation=chat)
        DeliveryFactory(message=MessageFactory(conversation=chat, outbound=True))

    after = queries_of(browser_of_vera, address)

    assert len(after) == len(before)
    assert not [sql for sql in after if "COUNT(" in sql]


SEARCHES = [
    ("conversation", "q=7"),
    ("conversation", "q=%2B79210000001"),
    ("contact", "q=%2B79210000001"),
    ("contact", "q=client-5"),
    ("message", "q=wamid.77"),
    ("message", "q=12"),
    ("message", "status=failed"),
    ("delivery", "q=msg_abc"),
    ("delivery", "q=12"),
    ("delivery", "state=trouble"),
    ("delivery", "state=unfinished"),
    ("webhookevent", "state=failed"),
    ("servicewindow", "window=open"),
    ("servicewindow", "q=12"),
    ("ticket", "q=12"),
]


MANY = 20_000


@pytest.fixture
def many_rows(history: Conversation) -> None:
    """Create enough rows that PostgreSQL prefers an index where one exists."""
    contact = copies(history.contact, MANY, external_id="'many-' || n", phone="'+7' || n")
    chat = copies(history, MANY, contact_id=f"{contact} + n", last_message_at="now() - n * interval '1 second'")
    there = f"{chat} + n"
    message = copies(
        Message.objects.get(),
        MANY,
        conversation_id=there,
        external_id="'many-' || n",
        status="'received'",
        created_at="now()",
    )
    copies(
        Delivery.objects.get(),
        MANY,
        **{"conversation_id": there, "message_id": f"{message} + n", "key": "'many-' || n", "state": "'delivered'"},
    )
    copies(history.windows.get(), MANY, conversation_id=there, state="'closed'")
    copies(history.tickets.get(), MANY, conversation_id=there, status="3")
    copies(WebhookEvent.objects.get(), MANY, state="'processed'")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@pytest.mark.exhaustive
def test_list_filters_and_searches_use_indexes(browser_of_vera: Client, many_rows: None) -> None:
    slow = []
    few = ("straystatus", "alert", "heartbeat")  # pruned, or only a few rows
    addresses = [(model, "") for model in HISTORY if model not in few] + SEARCHES

    for model, query in addresses:
        for sql in queries_of(browser_of_vera, f"{reverse(f'admin:bridge_{model}_changelist')}?{query}"):
            if f'FROM "bridge_{model}"' not in sql:
                continue
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}")
                plan = "\n".join(row[0] for row in cursor.fetchall())
            if f"Seq Scan on bridge_{model}" in plan or ("Sort" in plan and "Limit" in plan and "rows=20" in plan):
                slow.append(f"{model}?{query}\n{plan}")

    assert slow == [], "\n\n".join(slow)


def test_todays_messages_are_found_by_bisecting_the_ids(history: Conversation) -> None:
    copies(Message.objects.get(), 2_000, external_id="'many-' || n")
    midnight = timezone.now() - timedelta(hours=1)
    ids = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    border = ids[len(ids) // 2]
    Message.objects.filter(pk__lt=border).update(created_at=midnight - timedelta(days=1))

    original, channel_stats.SMALL_TABLE_IDS = channel_stats.SMALL_TABLE_IDS, 10
    try:
        found = channel_stats.find_first_id_since(Message, "created_at", midnight)
    finally:
        channel_stats.SMALL_TABLE_IDS = original

    assert found == border


# --- the start page ---------------------------------------------------------------------------------------


def test_the_start_page_requires_a_login() -> None:
    assert Client().get("/").status_code == 302


def test_operators_are_redirected_to_the_desk() -> None:
    client = Client()
    client.force_login(boris())

    assert client.get("/").headers["Location"] == reverse("chats")


def lines(client: Client) -> list[tuple[str, str]]:
    return [(line.state, line.url) for line in client.get("/").context["items"]]


@pytest.mark.parametrize("where", ["apichannel", "chatchannel"])
def test_a_channel_is_added_by_the_button_named_in_the_guide(browser_of_vera: Client, where: str) -> None:
    """The guide: «Перейдите в раздел «Каналы» и нажмите кнопку «Добавить канал». Выберите «API»»."""
    page = browser_of_vera.get(f"/admin/channels_setup/{where}/", headers={"accept-language": "ru"}).content.decode()
    begin = page.index("add-channel")

    assert page.index("/admin/channels_setup/apichannel/add/", begin) < page.index(">API<", begin)


def test_the_checklist_begins_with_the_chat_channel(browser_of_vera: Client) -> None:
    assert lines(browser_of_vera)[0] == ("now", reverse("admin:channels_setup_chatchannel_add"))


def test_the_checklist_is_completed_by_recorded_facts(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", secret=True, state=ChannelState.WAITING)
    channel.watched.get().operators.add(boris())
    before = [state for state, _url in lines(browser_of_vera)]

    channel.record_inbound()
    channel.record_success(with_answer=True)
    after = lines(browser_of_vera)

    assert before == ["done", "done", "now", "later", "later", "done"]
    assert {state for state, _url in after} == {"done"}
    assert all(browser_of_vera.get(url).status_code == 200 for _state, url in after)


def test_a_day_without_messages_has_no_busiest_hour(browser_of_vera: Client, in_english: None) -> None:
    page = reverse("admin:channels_setup_apichannel_change", args=[ApiChannelFactory().pk])
    busy = reverse("admin:channels_setup_apichannel_change", args=[MessageFactory().api_channel_id])

    assert "busiest hour" not in page_html(browser_of_vera, page)
    assert "busiest hour: 1" in browser_of_vera.get(busy).content.decode()


def test_the_start_page_lists_current_problems(browser_of_vera: Client, history: Conversation) -> None:
    history.api_channel.record_failure("unauthorized")

    before = browser_of_vera.get("/").content.decode()
    alerts.settle_alert(Alert.Kind.BREAKER, api_channel_id=history.api_channel_id)
    page = browser_of_vera.get("/").content.decode()

    assert "is not accepting messages" in before and "rejected our key" in page
    assert "1 delivery failed" in page and "1 event could not be read" in page
    assert "127.0.0.0/8" in page
    assert "Celery beat" not in page


def warning_sentences(client: Client) -> list[str]:
    return [warning["sentence"] for warning in client.get("/").context["warnings"]]


def test_the_start_page_reports_one_cause_once_with_its_reason(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(name="Shop", state=ChannelState.LIVE)
    letter = DeliveryFactory(message=MessageFactory(conversation=ConversationFactory(api_channel=channel)))
    channel.record_failure("destination_error")
    alerts.raise_alert("stuck", api_channel_id=channel.pk, delivery_id=letter.pk, why_code="destination_error")

    stuck = warning_sentences(browser_of_vera)
    alerts.settle_alert("stuck", api_channel_id=channel.pk, delivery_id=letter.pk)
    alerts.raise_alert("breaker", api_channel_id=channel.pk)
    down = warning_sentences(browser_of_vera)

    assert [sentence for sentence in stuck if "Shop" in sentence] == [
        "A message on “Shop” has failed four times. The provider has an internal error. We will try again."
    ]
    assert [sentence.endswith("internal error. We will try again.") for sentence in down if "Shop" in sentence] == [
        True
    ]


def test_an_expired_pause_is_not_reported_before_housekeeping_runs(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(name="Shop", state=ChannelState.LIVE)
    channel.pause()
    alerts.raise_alert("switched_off", api_channel_id=channel.pk, why_code="wa_token")

    paused = warning_sentences(browser_of_vera)
    channel.resume()

    assert "Fix the cause" not in paused[0] and "resumes automatically" in paused[0]
    assert not any("Shop" in sentence for sentence in warning_sentences(browser_of_vera))


def test_the_start_page_shows_account_problems_until_the_next_check(
    browser_of_vera: Client,
) -> None:
    channel = ApiChannelFactory(kind="whatsapp_cloud", name="Shop", state=ChannelState.LIVE)
    now = timezone.now()

    def warnings_after(*kinds: str, hours: float = 1) -> list[str]:
        at = (now - timedelta(hours=hours)).isoformat()
        bad = ("FLAGGED", "ACCOUNT_VIOLATION")
        updates = [{"event": k, "details": "", "level": "error" if k in bad else "ok", "at": at} for k in kinds]
        channel.update_provider_status(updates=updates, checked_at="")
        return [sentence for sentence in warning_sentences(browser_of_vera) if "Shop" in sentence]

    assert ["quality is low" in sentence for sentence in warnings_after("FLAGGED")] == [True]
    assert warnings_after("UNFLAGGED", "FLAGGED") == []
    [sentence] = warnings_after("UNFLAGGED", "ACCOUNT_VIOLATION")
    assert "violated its policies" in sentence
    assert warnings_after("REINSTATE", "ACCOUNT_VIOLATION") == []
    assert warnings_after("FLAGGED", hours=24 * 8) == []

    assert warnings_after("FLAGGED")
    channel.update_provider_status(checked_at=now.isoformat())
    assert not any("Shop" in sentence for sentence in warning_sentences(browser_of_vera))


def test_the_start_page_reports_template_price_changes(browser_of_vera: Client) -> None:
    provider, hand = ChangeAuthor(source=Source.PROVIDER), ChangeAuthor(source=Source.MANUAL)
    moved, soon, back, ours = (TemplateFactory(name=name, category="UTILITY") for name in ("one", "two", "back", "own"))
    lifecycle.change_category(moved, "MARKETING", by=provider)
    lifecycle.announce_category(soon, "MARKETING", at=None, by=provider)
    lifecycle.change_category(back, "MARKETING", by=provider)
    lifecycle.change_category(back, "UTILITY", by=hand)
    lifecycle.change_category(ours, "MARKETING", by=hand)

    warnings = [warning for warning in browser_of_vera.get("/").context["warnings"] if "template" in warning["url"]]
    TemplateEvent.objects.update(at=timezone.now() - timedelta(days=8))
    later = warning_sentences(browser_of_vera)

    assert [warning["sentence"].split(":")[0] for warning in warnings] == [
        "The provider will move “two · ru” to another category",
        "The provider moved “one · ru” to another category",
    ]
    assert all("utility → marketing" in warning["sentence"] for warning in warnings)
    assert browser_of_vera.get(warnings[0]["url"]).status_code == 200
    assert not any("category" in sentence for sentence in later)


def test_many_price_changes_are_one_warning(browser_of_vera: Client) -> None:
    for template in TemplateFactory.create_batch(4, category="UTILITY"):
        lifecycle.change_category(template, "MARKETING", by=ChangeAuthor(source=Source.PROVIDER))

    warnings = [sentence for sentence in warning_sentences(browser_of_vera) if "category" in sentence]

    assert warnings == [
        "The provider has moved or will move 4 templates to another category, which changes their price."
    ]


def test_waiting_deliveries_are_retried_by_a_button(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(state=ChannelState.LIVE)
    letter = DeliveryFactory(message=MessageFactory(conversation=ConversationFactory(api_channel=channel)))
    later = timezone.now() + timedelta(hours=2)
    Delivery.objects.update(state="pending", reason="destination_error", attempts=7, next_attempt_at=later)

    page = browser_of_vera.get(page_of(channel)).content.decode()
    press(browser_of_vera, channel, "try-now")
    letter.refresh_from_db()
    answered = press(browser_of_vera, channel, "try-now").content.decode()

    assert "The next attempt is at" in page and f"{page_of(channel)[:-7]}actions/try-now/" in page
    assert letter.next_attempt_at <= timezone.now() and letter.attempts == 7
    assert "No deliveries are waiting for a retry" in answered and "actions/try-now/" not in answered


def test_a_history_is_shown_in_the_readers_language(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.LIVE)

    answered = browser_of_vera.post(page_of(channel), filled_form(on_unknown="ask", calls_per_second="5"))
    entry = LogEntry.objects.get()

    assert answered.status_code == 302
    with translation.override("en"):
        assert "if the outcome is unknown" in entry.get_change_message()
    with translation.override("ru"):
        assert "исход неизвестен" in entry.get_change_message().lower()


def test_the_start_page_links_to_the_training_phone(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory(kind="sandbox")

    assert channel.phone_page_path in browser_of_vera.get("/").content.decode()


def test_contacts_are_found_by_their_whole_phone_number(browser_of_vera: Client) -> None:
    anna = ContactFactory(phone="+79211234567")
    address = reverse("admin:bridge_contact_changelist")

    found = [
        browser_of_vera.get(f"{address}?q={term}").context["cl"].result_list for term in ("%2B79211234567", "1234")
    ]

    assert [list(rows) for rows in found] == [[anna], []]


def test_the_start_page_shows_every_channel_with_failing_ones_first(
    browser_of_vera: Client,
) -> None:
    healthy = ApiChannelFactory.create(state=ChannelState.LIVE, name="Quiet one")
    failing = ApiChannelFactory.create(state=ChannelState.FAILING, last_error="cannot_connect")

    page = browser_of_vera.get(reverse("admin:index")).content.decode()

    assert page.index(failing.name) < page.index(healthy.name)
    assert outcomes.render_sentence("cannot_connect", for_admin=True) in html.unescape(page)
    assert page.count('class="plot"') == ApiChannel.objects.count()


def test_the_start_page_runs_as_few_queries_for_ten_channels_as_for_one(browser_of_vera: Client) -> None:
    def query_count() -> int:
        return len(list_queries(browser_of_vera, reverse("admin:index")))

    ApiChannelFactory.create()
    before = query_count()
    ApiChannelFactory.create_batch(9)

    assert query_count() == before


def test_the_start_page_hides_channels_from_users_without_access(client: Client) -> None:
    ApiChannelFactory.create(name="Not for everybody")
    client.force_login(UserFactory.create(is_staff=True))

    assert "Not for everybody" not in page_html(client, reverse("admin:index"))
