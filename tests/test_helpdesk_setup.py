"""Setup of an external helpdesk: the form, the dry run in both directions, recorded events, the command."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone, translation

from bridge.helpdesk import connection_check, incoming
from bridge.models import CircuitBreaker, Conversation, HelpdeskConnection, WebhookEvent
from channels_setup.models import ChatChannel
from channels_setup.roles import Role, assign_role
from tests.factories import UserFactory, vera
from tests.pages import page_html, signed_in
from tests.simulators.usedesk import COMPANY, UsedeskSimulator
from tests.usedesk_shop import Shop

pytestmark = pytest.mark.django_db

ENGLISH = {"accept-language": "en"}


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        yield simulator


@pytest.fixture
def shop(simulator: UsedeskSimulator) -> Shop:
    return Shop.of(simulator)


def checked(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, wait: float = 15.0) -> dict[str, str]:
    """Run the dry run while the simulator's events arrive. Return the sentences by level."""

    def look_and_pump(_seconds: float) -> None:
        with translation.override("en"):  # the webhook requests change the active language
            shop.simulator.pump()

    monkeypatch.setattr(connection_check, "sleep", look_and_pump)
    shop.chat_channel.refresh_from_db()
    found: dict[str, str] = {"ok": "", "warning": "", "error": ""}
    with translation.override("en"):
        for each in connection_check.run_connection_check(shop.chat_channel, wait=wait):
            found[each.level] += f"{each.sentence} "
    return found


# --- the page --------------------------------------------------------------------------------------------


def test_only_those_who_see_all_chats_see_the_errors_of_events(shop: Shop, client: Client) -> None:
    WebhookEvent.objects.create(chat_channel=shop.chat_channel, endpoint="usedesk", body=b"{}", error="quokka said")
    auditor = UserFactory(username="auditor")
    assign_role(auditor, role=Role.AUDITOR)
    path = f"/admin/channels_setup/chatchannel/{shop.chat_channel.pk}/change/"

    assert "quokka" in page_html(signed_in(client, vera()), path)
    assert "quokka" not in page_html(signed_in(client, auditor), path)


# --- the dry-run -----------------------------------------------------------------------------------------


def test_a_correct_setup_passes_with_its_evidence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checked(shop, monkeypatch)

    assert found["error"] == found["warning"] == ""
    for words in (
        "secret key is accepted",
        "Chat channel 870 exists",
        "clocks agree",
        "accepted the test message",
        "event of the test message arrived",
    ):
        assert words in found["ok"]


def test_the_test_chat_is_reused_and_no_client_is_created_here(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        checked(shop, monkeypatch)
        shop.settle()

    assert len(shop.simulator.chats) == 1
    assert not Conversation.objects.exists()


def test_a_wrong_key_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.key = "b2" * 20

    found = checked(shop, monkeypatch)

    assert found["error"].strip() == "Usedesk does not accept the secret key."
    assert shop.simulator.chats == {}


def test_a_missing_channel_is_reported_with_the_existing_ones(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.chat_channel.options["channel_id"] = 999
    shop.chat_channel.save()

    assert (
        checked(shop, monkeypatch)["error"].strip() == "There is no channel 999 in Usedesk. Chat channels there: 870."
    )


def test_a_channel_that_is_no_chat_channel_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.chat_channel.options["channel_id"] = 871
    shop.chat_channel.save()

    assert "Channel 871 is not a chat channel: its type is “email”." in checked(shop, monkeypatch)["error"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{root}/api/", "HTTP 404"),
        ("http://127.0.0.1:9/uapi/", "Cannot connect to the API address"),
        ("http://127.0.0.2.nip.invalid/uapi/", "cannot be found"),
    ],
)
def test_a_wrong_url_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch, address: str, words: str) -> None:
    shop.chat_channel.options["base_url"] = address.format(root=shop.simulator.url.removesuffix("/uapi/"))
    shop.chat_channel.save()

    assert words in checked(shop, monkeypatch)["error"]


def test_a_missing_event_suggests_the_redirect_url(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.faults.share_dropped = 1.0

    found = checked(shop, monkeypatch, wait=0.2)

    assert "Redirect URL" in found["error"]
    assert "accepted the test message" in found["ok"]


def test_a_ping_without_chat_events_suggests_the_event_checkboxes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.ping()
    shop.settle()
    shop.simulator.boxes = set()

    assert "All chat messages" in checked(shop, monkeypatch, wait=0.2)["error"]


def test_a_wrong_app_id_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.secret_in_events = "999"

    found = checked(shop, monkeypatch, wait=2)

    assert "neither the app ID nor the secret key" in found["error"]
    assert not WebhookEvent.objects.exists()


def test_a_wrong_app_id_is_reported_even_if_the_event_comes_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event may arrive and be refused before the response to the call that caused it."""
    honest = connection_check._send_test_message

    def deliver_and_refuse(chat_channel: Any, *arguments: Any) -> Any:
        incoming.record_refused_event(chat_channel)
        return honest(chat_channel, *arguments)

    monkeypatch.setattr(connection_check, "_send_test_message", deliver_and_refuse)

    found = checked(shop, monkeypatch, wait=0)

    assert "neither the app ID nor the secret key" in found["error"]


@pytest.mark.parametrize(("off", "level"), [(60, "warning"), (-4000, "error")])
def test_differing_clocks_are_reported_without_failing_the_check(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, off: float, level: str
) -> None:
    shop.simulator.clock_off = off

    found = checked(shop, monkeypatch)

    assert "clocks differ" in found[level]
    assert "event of the test message arrived" in found["ok"]


def test_an_evidently_missing_checkbox_is_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.boxes = {"new_chat", "message"}
    chat_id = shop.begin()
    shop.simulator.assign(chat_id, 27)
    shop.simulator.say(chat_id, "Да")
    shop.settle()

    assert "Ticket change" in checked(shop, monkeypatch)["warning"]


def test_chats_without_changed_requests_prove_nothing_about_the_checkbox(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = shop.begin()
    for number in range(4):
        shop.anna_writes(str(number))
        shop.simulator.say(chat_id, str(number))
        shop.settle()

    assert checked(shop, monkeypatch)["warning"] == ""


# --- the form and its page -------------------------------------------------------------------------------


def page_of(chat_channel: ChatChannel) -> str:
    return f"/admin/channels_setup/chatchannel/{chat_channel.pk}/change/"


def test_an_admin_creates_the_channel_and_is_led_to_the_connection(client: Client) -> None:
    client.force_login(vera())

    made = client.post(
        "/admin/channels_setup/chatchannel/add/",
        {"name": "Юздеск", "kind": "usedesk", "company_id": COMPANY, "operators": []},
        follow=True,
    )

    chat_channel = ChatChannel.objects.get()
    assert chat_channel.kind == "usedesk"
    text = made.content.decode()
    assert chat_channel.webhook_url in text
    page = f"/admin/channels_setup/chatchannel/{chat_channel.pk}/change/"
    assert chat_channel.path_token not in page_html(client, page)  # from now on only on demand
    assert 'name="account_base_url"' in text and 'name="account_secret_key"' in text


def form(simulator: UsedeskSimulator, **more: Any) -> dict[str, Any]:
    return {
        "name": "Юздеск",
        "company_id": COMPANY,
        "account_base_url": simulator.url,
        "account_channel_id": "870",
        "account_secret_key": simulator.key,
        "account_app_id": simulator.app_id,
        "account_calls_per_second": "3",
        "account_language": "ru",
        "account_files": "link",
    } | more


def test_the_key_is_stored_encrypted_and_never_shown(client: Client, simulator: UsedeskSimulator) -> None:
    client.force_login(vera())
    chat_channel = ChatChannel.objects.create(name="Юздеск", kind="usedesk")

    client.post(page_of(chat_channel), form(simulator))
    page = page_html(client, page_of(chat_channel))
    client.post(page_of(chat_channel), form(simulator, account_secret_key="", account_relay_rules="on"))

    chat_channel.refresh_from_db()
    assert chat_channel.helpdesk_account().secret == simulator.key
    assert chat_channel.options["relay_rules"] is True and chat_channel.options["calls_per_second"] == 3
    assert simulator.key not in page
    assert simulator.key.encode() not in bytes(chat_channel.secret)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_base_url", "ftp://x"),
        ("account_base_url", ""),
        ("account_channel_id", "x"),
        ("account_app_id", ""),
    ],
)
def test_a_wrong_field_is_shown_again(client: Client, simulator: UsedeskSimulator, field: str, value: str) -> None:
    client.force_login(vera())
    chat_channel = ChatChannel.objects.create(name="Юздеск", kind="usedesk")

    answer = client.post(page_of(chat_channel), form(simulator, **{field: value}))

    assert answer.status_code == 200
    chat_channel.refresh_from_db()
    assert chat_channel.options == {}


def test_the_page_shows_received_events_and_the_button_runs_the_check(
    client: Client, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.begin()
    client.force_login(vera())
    monkeypatch.setattr(connection_check, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(connection_check, "sleep", lambda _seconds: shop.simulator.pump())

    page = client.get(page_of(shop.chat_channel), headers=ENGLISH).content.decode()
    check = f"/admin/channels_setup/chatchannel/{shop.chat_channel.pk}/check/"
    checked = client.post(check, follow=True, headers=ENGLISH)

    assert set(HelpdeskConnection.objects.get().first_events) == {"new_chat"}
    assert "All chat messages" in page
    assert "Chat channel 870 exists." in checked.content.decode()


def test_the_page_shows_when_the_next_attempt_is_made(shop: Shop, client: Client) -> None:
    now = timezone.now()
    HelpdeskConnection.objects.create(
        chat_channel=shop.chat_channel, last_error="helpdesk_unreachable", last_error_at=now
    )
    CircuitBreaker.objects.create(chat_channel=shop.chat_channel, is_open=True, probe_at=now + timedelta(minutes=5))
    client.force_login(vera())

    waiting = client.get(page_of(shop.chat_channel), headers=ENGLISH).content.decode()
    CircuitBreaker.objects.update(is_open=False)
    trying = client.get(page_of(shop.chat_channel), headers=ENGLISH).content.decode()

    assert "The next attempt is after" in waiting
    assert "The next attempt is after" not in trying


def test_the_page_of_the_built_in_desk_has_no_connection(client: Client) -> None:
    client.force_login(vera())
    chat_channel = ChatChannel.objects.create(name="Магазин")

    page = page_html(client, page_of(chat_channel))

    assert "account_base_url" not in page and "Redirect URL" not in page


# --- the command -----------------------------------------------------------------------------------------


def run(*words: str) -> Any:
    out = io.StringIO()
    call_command("helpdesk", *words, "--output", "json", stdout=out)
    return json.loads(out.getvalue())


def test_a_channel_is_created_and_changed_by_command(
    simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELPDESK_SECRET_KEY", simulator.key)
    options = ["--set", f"base_url={simulator.url}", "--set", "channel_id=870", "--set", f"app_id={simulator.app_id}"]

    made = run("add", "--kind", "usedesk", "--name", "Юздеск", "--company-id", str(COMPANY), *options)
    changed = run("change", "Юздеск", "--set", "links_for_files=on")

    chat_channel = ChatChannel.objects.get()
    assert made["webhook_url"] == chat_channel.webhook_url
    assert chat_channel.helpdesk_account().secret == simulator.key
    assert changed["links_for_files"] is True and changed["channel_id"] == 870
    assert simulator.key not in json.dumps([made, changed])


@pytest.mark.parametrize("wrong", ["base_url=nonsense", "colour=red", "files=pigeon"])
def test_a_wrong_setting_is_refused_with_its_name(simulator: UsedeskSimulator, wrong: str) -> None:
    with pytest.raises(CommandError) as problem:
        options = ["--set", f"base_url={simulator.url}", "--set", "channel_id=1", "--set", "app_id=1", "--set", wrong]
        run("add", "--kind", "usedesk", "--name", "Юздеск", "--company-id", "1", "--secret-key", "a", *options)

    assert wrong.split("=")[0] in str(problem.value)
    assert not ChatChannel.objects.exists()


def test_the_check_exits_with_one_on_errors(shop: Shop) -> None:
    shop.simulator.key = "b2" * 20

    with pytest.raises(SystemExit) as ended:
        run("check", "Юздеск")

    assert ended.value.code == 1


# --- the simulator itself -------------------------------------------------------------------------------------


def test_the_simulator_posts_events_like_a_program() -> None:
    got: list[bytes] = []
    arrived = threading.Event()
    with UsedeskSimulator() as receiver, UsedeskSimulator(webhook=f"{receiver.url}hook") as simulator:
        simulator.ping()
        receiver.wait_for(lambda: receiver.calls, seconds=5)
        got += [json.dumps(body).encode() for _method, body in receiver.calls]
        arrived.set()

    assert got == [b'{"ping": "ping"}']


def test_the_simulator_answers_in_the_documented_format(simulator: UsedeskSimulator) -> None:
    message = {"text": "?", "from": {"name": "Анна"}}
    call = {"api_token": simulator.key, "company_id": COMPANY, "channel_id": 870, "message": message}

    first, second = (simulator.answer("chat/addMessage", call | extra) for extra in ({}, {"chat_id": 700101}))

    assert isinstance(first, dict) and isinstance(second, dict)
    assert set(first) == {"chat_id", "company_id", "ticket_id", "channel_id", "client_id"}
    assert first["ticket_id"] is None and second["ticket_id"]
    assert simulator.answer("chat/addMessage", call | {"channel_id": 871}) == {"status": False}
    assert "error" in simulator.answer("channels", {"api_token": "x"})
