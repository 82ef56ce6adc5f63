"""manage.py commands: output, effects, and error messages."""

import json
import re
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from bridge import service_window
from bridge.models import Conversation, Delivery, Message, Ticket, WebhookEvent
from channels_setup.models import ApiChannel, ChannelState, ChatChannel, Secret
from tests.factories import ApiChannelFactory, ChatChannelFactory, DeliveryFactory, UserFactory, boris, vera

pytestmark = pytest.mark.django_db

HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command and returns what it printed on stdout."""

    def runner(*words: Any) -> str:
        call_command(*map(str, words))
        return capsys.readouterr().out

    return runner


@pytest.fixture
def run_json(run: Any) -> Any:
    return lambda *words: json.loads(run(*words, "--output", "json"))


# --- channel ---------------------------------------------------------------------------------------------


def test_channel_add_creates_both_channels_and_prints_one_json_object(run_json: Any) -> None:
    made = run_json(
        *("channel", "add", "--kind", "acebot", "--name", "WhatsApp", "--chat-channel", "Магазин"),
        *("--redirect-url", HOOK, "--form", "--no-utf8", "--track", "new_chat, change", "--company-id", 77),
    )

    channel = ApiChannel.objects.get()
    chat_channel = ChatChannel.objects.get()
    assert made == {
        "api_channel": channel.pk,
        "app_id": channel.app_id,
        "secret_key": channel.current_secret().reveal(),
        "chat_channel_id": chat_channel.pk,
        "company_id": 77,
        "webhook_url": f"http://127.0.0.1:8000/webhooks/acebot/{channel.path_token}/",
    }
    assert (chat_channel.name, list(channel.watched.all())) == ("Магазин", [chat_channel])
    assert (channel.send_json, channel.send_utf8) == (False, False)
    assert channel.tracked == ["new_chat", "change"]
    assert channel.redirect_url == HOOK


def test_a_secret_printed_by_channel_add_counts_as_shown(run_json: Any) -> None:
    run_json("channel", "add", "--kind", "sandbox", "--name", "Телефон", "--chat-channel", "Магазин")

    assert Secret.objects.get().shown_at is not None


@pytest.mark.parametrize(
    ("kind", "more", "state"),
    [
        ("acebot", ["--redirect-url", HOOK], ChannelState.WAITING),
        ("acebot", [], ChannelState.DRAFT),
        ("sandbox", [], ChannelState.LIVE),
    ],
)
def test_a_complete_channel_waits_for_its_provider_unless_it_is_a_phone(
    run_json: Any, kind: str, more: list[str], state: str
) -> None:
    run_json("channel", "add", "--kind", kind, "--name", "К", "--chat-channel", "Магазин", *more)

    assert ApiChannel.objects.get().state == state


@pytest.mark.parametrize("by", ["pk", "name"])
def test_channel_add_accepts_an_existing_chat_channel_by_number_or_name(run_json: Any, by: str) -> None:
    old = ChatChannelFactory(name="Магазин")

    made = run_json("channel", "add", "--kind", "sandbox", "--name", "К", "--chat-channel", getattr(old, by))

    assert made["chat_channel_id"] == old.pk
    assert ChatChannel.objects.count() == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--kind", "acebot", "--name", "К", "--chat-channel", "М", "--redirect-url", "http://10.0.0.1/"],
            "--redirect",
        ),
        (["--kind", "sandbox", "--name", "К", "--chat-channel", "М", "--track", "nonsense"], "nonsense"),
        (["--kind", "sandbox", "--name", "К", "--chat-channel", "999999999"], "999999999"),
        (["--kind", "sandbox", "--name", "", "--chat-channel", "М"], "--name"),
        (["--kind", "sandbox", "--name", "К", "--chat-channel", ""], "--name"),
        (["--kind", "sandbox", "--name", "К", "--chat-channel", "Двойник"], "«Двойник»"),
    ],
)
def test_a_refused_channel_leaves_nothing_behind_and_explains_why(run: Any, words: list[str], sentence: str) -> None:
    ChatChannelFactory.create_batch(2, name="Двойник")

    with pytest.raises(CommandError, match=sentence) as refusal:
        run("channel", "add", *words)

    assert refusal.value.returncode == 1
    assert not ApiChannel.objects.exists()
    assert ChatChannel.objects.count() == 2


def test_channel_list_and_show_print_everything_but_secrets(run: Any, run_json: Any) -> None:
    channel = ApiChannelFactory(name="WhatsApp", secret=True)

    printed = "".join(run("channel", *words) for words in (["list"], ["show", channel.pk], ["show", "WhatsApp"]))
    details = run_json("channel", "show", channel.pk)

    assert "WhatsApp" in printed and details["name"] == "WhatsApp"
    assert details["chat_channels"][0]["chat_channel_id"] == channel.default_chat_channel.pk
    assert run_json("channel", "list") == [details]
    for secret in (channel.current_secret().reveal(), channel.path_token):
        assert secret not in printed + json.dumps(details)


def test_channel_pause_pauses_a_channel_and_resume_restores_its_state(run_json: Any) -> None:
    channel = ApiChannelFactory(name="WhatsApp", state=ChannelState.WAITING)

    assert run_json("channel", "pause", "WhatsApp")["state"] == "paused"
    assert run_json("channel", "pause", channel.pk)["state"] == "paused"
    assert run_json("channel", "resume", channel.pk)["state"] == "waiting"


def test_an_unknown_channel_is_an_error_message(run: Any) -> None:
    with pytest.raises(CommandError, match="no API channel “7”"):
        run("channel", "show", "7")


# --- user ------------------------------------------------------------------------------------------------


def test_user_add_creates_an_operator_of_the_given_chat_channels(run_json: Any) -> None:
    by_number, by_name = ChatChannelFactory(), ChatChannelFactory(name="Склад")
    ChatChannelFactory()

    made = run_json(
        *("user", "add", "boris", "--role", "operator"),
        *("--chat-channel", by_number.pk, "--chat-channel", "Склад"),
    )

    user = get_user_model().objects.get(pk=made["user_id"])
    assert set(made) == {"user_id", "password"}
    assert user.check_password(made["password"])
    assert set(ChatChannel.objects.all().visible_to(user)) == {by_number, by_name}
    assert not user.is_staff and not user.is_superuser
    assert user.has_perm("bridge.view_conversation") and not user.has_perm("channels_setup.view_apichannel")


def test_user_add_creates_an_admin_who_sees_all_chat_channels(run_json: Any) -> None:
    ChatChannelFactory()

    made = run_json("user", "add", "vera", "--role", "admin", "--password", "korabl-i-more-7")

    user = get_user_model().objects.get(username="vera")
    assert "password" not in made and user.check_password("korabl-i-more-7")
    assert user.is_staff and not user.is_superuser
    assert ChatChannel.objects.all().visible_to(user).count() == 1
    for permission in ("channels_setup.change_apichannel", "bridge.view_webhookevent", "accounts.add_user"):
        assert user.has_perm(permission)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["vera", "--role", "admin"], "vera|уже|exist"),
        (["boris", "--role", "operator", "--chat-channel", "Нет такого"], "Нет такого"),
        (["b o r i s", "--role", "operator"], "."),
        (["boris", "--role", "operator", "--password", "1234"], "."),
    ],
)
def test_a_refused_user_leaves_nothing_behind_and_explains_why(run: Any, words: list[str], sentence: str) -> None:
    UserFactory(username="vera")

    with pytest.raises(CommandError, match=sentence):
        run("user", "add", *words)

    assert get_user_model().objects.count() == 1


# --- token -----------------------------------------------------------------------------------------------


def test_token_create_prints_a_new_token_each_time(run: Any) -> None:
    vera()

    first, second = run("token", "create", "vera"), run("token", "create", "vera")

    assert first != second and len(first.strip().split()) == 1


def test_token_revoke_invalidates_the_token(run: Any) -> None:
    boris()
    first = run("token", "create", "boris")

    run("token", "revoke", "boris")

    assert run("token", "create", "boris") != first
    with pytest.raises(CommandError, match="no user “gleb”"):
        run("token", "create", "gleb")


# --- keys ------------------------------------------------------------------------------------------------


def test_after_rotate_field_keys_the_old_key_is_not_needed(run: Any, settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_KEYS = [old]
    key = ApiChannelFactory(secret=True).current_secret().reveal()
    settings.FIELD_KEYS = [new, old]

    run("rotate_field_keys")

    settings.FIELD_KEYS = [new]
    assert Secret.objects.get().reveal() == key


def test_second_factors_work_without_the_old_key(run: Any, settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_KEYS = [old]
    user, seed = vera(), totp.generate_totp_secret()
    factor = totp.TOTP.activate(user, seed)
    codes = RecoveryCodes.activate(user).get_unused_codes()
    settings.FIELD_KEYS = [new, old]

    run("rotate_field_keys")

    settings.FIELD_KEYS = [new]
    factor.instance.refresh_from_db()
    assert decrypt(factor.instance.data["secret"]) == seed
    assert RecoveryCodes(Authenticator.objects.get(type="recovery_codes")).get_unused_codes() == codes


def test_rotate_field_keys_names_secrets_that_no_key_decrypts(run: Any, settings: Any) -> None:
    secret = ApiChannelFactory(secret=True).current_secret()
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(CommandError, match=str(secret.pk)):
        run("rotate_field_keys")


# --- deliveries in trouble and failed events -------------------------------------------------------------


def test_dead_list_shows_dead_letters_and_their_reasons(run: Any, run_json: Any) -> None:
    dead = DeliveryFactory(state="dead", reason="retries_exhausted")
    unknown = DeliveryFactory(state="unknown", reason="outcome_unknown")
    DeliveryFactory(state="delivered")

    assert [row["id"] for row in run_json("dead_letters", "list")] == [unknown.pk, dead.pk]
    assert [row["id"] for row in run_json("dead_letters", "list", "--channel", dead.api_channel_id)] == [dead.pk]
    assert run_json("dead_letters", "list", "--limit", 1)[0]["reason"] == "outcome_unknown"
    assert str(dead.pk) in run("dead_letters", "list")


def test_dead_retry_queues_dead_letters_again(run: Any) -> None:
    dead, other = DeliveryFactory.create_batch(2, state="dead", reason="retries_exhausted", attempts=9)

    run("dead_letters", "resend", dead.pk)

    dead.refresh_from_db(), other.refresh_from_db()
    assert (dead.state, dead.attempts_before, other.state) == ("pending", 9, "dead")


def test_dead_discard_discards_all_dead_letters_of_a_channel(run: Any) -> None:
    dead, other = DeliveryFactory.create_batch(2, state="dead")

    run("dead_letters", "discard", "--all", "--channel", dead.api_channel_id)

    dead.refresh_from_db(), other.refresh_from_db()
    assert (dead.state, dead.reason, other.state) == ("cancelled", "discarded", "dead")


def test_dead_retry_requires_ids_or_all_and_names_what_it_skipped(run: Any) -> None:
    done = DeliveryFactory(state="delivered")

    with pytest.raises(CommandError, match="--all"):
        run("dead_letters", "resend")
    with pytest.raises(CommandError, match="not dead letters"):
        run("dead_letters", "discard", done.pk)


def test_failed_events_are_listed_and_processed_again(run: Any, run_json: Any) -> None:
    channel = ApiChannelFactory()
    event = WebhookEvent.objects.create(api_channel=channel, endpoint="webhook", body=b"", state="failed", error="ой")

    assert run_json("webhook_events", "list")[0]["error"] == "ой"
    run("webhook_events", "reprocess", "--all")

    event.refresh_from_db()
    assert (event.state, event.attempts) == ("new", 0)
    assert run_json("webhook_events", "list") == []
    assert run_json("webhook_events", "list", "--state", "new")[0]["id"] == event.pk


def test_a_failed_api_call_is_not_processed_again(run: Any) -> None:
    event = WebhookEvent.objects.create(
        api_channel=ApiChannelFactory(), endpoint="addMessage", body=b"", state="failed", error="ой"
    )

    with pytest.raises(CommandError, match="are API calls"):
        run("webhook_events", "reprocess", event.pk)

    event.refresh_from_db()
    assert event.state == "failed"


# --- demo ------------------------------------------------------------------------------------------------


@pytest.fixture
def demo_passwords(settings: Any) -> None:
    settings.DEMO_PASSWORDS = {"admin": "slovo-admina", "operator": "slovo-operatora"}


@pytest.mark.django_db(transaction=True)
def test_the_demo_shows_chats_in_every_state_through_the_real_code_path(run: Any, demo_passwords: None) -> None:
    started = time.process_time()

    run("load_demo")

    took = time.process_time() - started  # of this process: the machine may be busy
    boris = get_user_model().objects.get(username="boris")
    chats = Conversation.objects.all().visible_to(boris)
    states = Counter(service_window.get_window_state(chat).state for chat in chats)
    assert took < 3
    assert states["open"] >= 3 and states["closed"] >= 2
    assert any(service_window.get_window_state(chat).is_open and time_left(chat) < timedelta(hours=1) for chat in chats)
    assert Message.objects.filter(direction="outbound", status="read").exists()
    assert Message.objects.filter(direction="outbound", status="delivered").exists()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert chats.filter(unread__gt=0).exists()
    assert Ticket.objects.filter(status=Ticket.Status.CLOSED).exists()
    channel = ApiChannel.objects.get()
    assert channel.provider.has_training_phone and channel.state == ChannelState.LIVE
    assert channel.first_inbound_at and channel.first_outbound_at


def time_left(chat: Conversation) -> timedelta:
    expires_at = service_window.get_window_state(chat).expires_at
    assert expires_at is not None
    return expires_at - timezone.now()


@pytest.mark.django_db(transaction=True)
def test_the_demo_can_be_loaded_twice(run: Any, demo_passwords: None) -> None:
    run("load_demo")
    before = Message.objects.count(), Delivery.objects.count(), ApiChannel.objects.count(), ChatChannel.objects.count()

    run("load_demo")

    after = Message.objects.count(), Delivery.objects.count(), ApiChannel.objects.count(), ChatChannel.objects.count()
    assert before == after
    users = {user.username: user for user in get_user_model().objects.all()}
    assert users["vera"].check_password("slovo-admina") and users["vera"].is_staff
    assert users["boris"].check_password("slovo-operatora") and not users["boris"].is_staff


def test_a_demo_without_passwords_is_refused(run: Any, settings: Any) -> None:
    settings.DEMO_PASSWORDS = {"admin": "", "operator": ""}

    with pytest.raises(CommandError, match="DEMO_ADMIN_PASSWORD"):
        run("load_demo")


# --- roles -----------------------------------------------------------------------------------------------


def test_migrating_creates_both_groups_with_their_permissions() -> None:
    permissions = {
        name: set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))
        for name in ("Admin", "Operator")
    }

    assert {"change_apichannel", "view_webhookevent", "add_user", "change_delivery"} <= permissions["Admin"]
    assert permissions["Operator"] == {
        f"view_{model}" for model in ("contact", "conversation", "delivery", "message", "servicewindow", "ticket")
    }


def test_the_help_is_in_one_language(capsys: pytest.CaptureFixture[str]) -> None:
    with translation.override("ru"), pytest.raises(SystemExit):
        call_command("channel", "add", "--help")

    assert not re.search("[а-яё]", capsys.readouterr().out)
