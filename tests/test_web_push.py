"""Web push: encryption, subscriptions, planning and sending."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.conversations import availability
from bridge.desk.live import presence
from bridge.desk.push import keys, planning, sending, subscriptions
from bridge.desk.push.message_encryption import decode_base64, encode_base64, encode_public_key, encrypt_message
from bridge.models import (
    Conversation,
    Notification,
    NotificationSettings,
    OperatorAvailability,
    PushMessage,
    PushSubscription,
)
from bridge.notifications import notify
from channels_setup import encryption
from channels_setup.models import ChatChannel
from tests.factories import ConversationFactory, boris, gleb, vera
from tests.receiver import Receiver
from tests.scenarios.sending import mark_written

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc"


class Browser:
    """A browser that is signed in and subscribed, and decrypts what it gets."""

    def __init__(self, user: Any, endpoint: str) -> None:
        self.private, self.auth, self.user = ec.generate_private_key(ec.SECP256R1()), os.urandom(16), user
        self.public = encode_public_key(self.private.public_key())
        self.client = Client(headers={"accept-language": "en", "user-agent": "Mozilla/5.0 Firefox/140.0"})
        self.client.force_login(user)
        answer = self.client.post("/desk/push/", self.form())
        assert answer.status_code == 200, answer.content
        row = PushSubscription.objects.latest("pk")
        stored = json.loads(encryption.decrypt(row.secret)) | {"endpoint": endpoint}
        row.secret, row.digest = encryption.encrypt(json.dumps(stored)), subscriptions.digest(endpoint)
        row.save()

    def form(self, **changed: str) -> dict[str, str]:
        values = {"endpoint": ENDPOINT, "public_key": encode_base64(self.public), "auth": encode_base64(self.auth)}
        return values | {"for_user": str(self.user.pk)} | changed

    def read(self, body: bytes) -> dict[str, Any]:
        sender = body[21 : 21 + body[20]]
        shared = self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = derive(shared, self.auth, b"WebPush: info\0" + self.public + sender, 32)
        key = derive(secret, body[:16], b"Content-Encoding: aes128gcm\0", 16)
        nonce = derive(secret, body[:16], b"Content-Encoding: nonce\0", 12)
        text = AESGCM(key).decrypt(nonce, body[21 + body[20] :], None)
        assert text[-1:] == b"\x02"
        return cast(dict[str, Any], json.loads(text[:-1]))


def derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


@pytest.fixture(autouse=True)
def _clean_presence() -> None:
    presence.store.client.flushdb()


@pytest.fixture
def chat() -> Conversation:
    made: Conversation = ConversationFactory(contact__name="Anna", contact__phone="79261112233")
    return made


def test_encryption_follows_the_example_of_rfc_8291() -> None:
    number = int.from_bytes(decode_base64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    body = encrypt_message(
        b"When I grow up, I want to be a watermelon",
        public_key=decode_base64(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        auth=decode_base64("BTBZMqHH6r4Tts7J_aSIgg"),
        salt=decode_base64("DGv6ra1nlYgDCS1FRnbzlw"),
        private=ec.derive_private_key(number, ec.SECP256R1()),
    )

    assert encode_base64(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
        "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": "https://10.0.0.1/push"},
        {"endpoint": "http://fcm.googleapis.com/fcm/send/abc"},
        {"endpoint": "https://fcm.googleapis.com.evil.example/x"},
        {"endpoint": "https://push.apple.com/x"},  # the setting allows the names below it
        {"endpoint": f"https://fcm.googleapis.com/{'x' * 1000}"},
        {"endpoint": "https://fcm.googleapis.com:22/x"},
        {"endpoint": "https://fcm.googleapis.com:port/x"},
        {"endpoint": "https://a\0.notify.windows.com/x"},
        {"endpoint": f"https://{'x' * 200}.notify.windows.com/x"},
        {"public_key": "AAAA"},
        {"auth": "AAAA"},
        {"auth": "é"},
    ],
)
def test_an_endpoint_that_is_no_known_push_service_is_refused(changed: dict[str, str]) -> None:
    browser = Browser(vera(), ENDPOINT)

    answer = browser.client.post("/desk/push/", browser.form(**changed))

    assert answer.status_code == 422 and PushSubscription.objects.count() == 1


def test_a_new_message_reaches_the_devices_of_those_it_concerns_once(chat: Conversation, receiver: Receiver) -> None:
    mine, other = boris(chat.chat_channel), vera()
    browser = Browser(mine, receiver.url("/mine"))
    Browser(other, receiver.url("/other"))
    other.groups.clear()  # sees no chats anymore
    type(other).objects.filter(pk=other.pk).update(is_superuser=False)
    mark_written(chat)

    assert [sending.send_pushes(), sending.send_pushes()] == [1, 0]

    [request] = receiver.wait_for(1)
    item = browser.read(request.body)
    page = browser.client.get("/chats/updates/", {"notified": "0:0"}).json()["notifications"]["items"]
    token = request.headers["authorization"].removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(token, options={"verify_signature": False, "verify_aud": False})
    assert (item["title"], item["text"], item["url"]) == ("Anna", "Hello", f"/chats/{chat.pk}/")
    assert item["key"] in {each["key"] for each in page}  # the page and the service worker recognize the same event
    assert request.headers["ttl"] == "300" and claims["aud"] == receiver.url("").rstrip("/")
    assert f"k={keys.get_public_key()}" in request.headers["authorization"]
    assert PushSubscription.objects.get(user=mine).sent_at is not None


def test_settings_and_status_decide_what_is_pushed(chat: Conversation, receiver: Receiver) -> None:
    user = vera()
    browser = Browser(user, receiver.url("/mine"))
    chosen = NotificationSettings.objects.create(user=user, scope="mine", shows_text=False, muted_kinds=["woken"])
    mark_written(chat)
    notify([user.pk], "woken", chat.pk)
    assert planning.plan_pushes() == 0  # nobody's chat, and a muted kind

    availability.choose_status(user, "dnd")
    notify([user.pk], "mentioned", chat.pk, actor=boris(chat.chat_channel), excerpt="call her")
    assert planning.plan_pushes() == 0

    availability.choose_status(user, "online")
    chosen.scope = "all"
    chosen.save()
    assert planning.plan_pushes() == 2 and sending.send_pushes() == 2
    items = {item["kind"]: item for item in (browser.read(each.body) for each in receiver.wait_for(2))}
    assert items["message"]["text"] == "New message" and items["mentioned"]["text"] == ""
    assert items["mentioned"]["title"] == "boris mentioned you: Anna"


def test_a_hidden_phone_stays_hidden(chat: Conversation, receiver: Receiver) -> None:
    ChatChannel.objects.update(hides_phones=True)
    chat.contact.name = ""
    chat.contact.save()
    browser = Browser(boris(chat.chat_channel), receiver.url("/mine"))
    mark_written(chat)

    sending.send_pushes()

    assert "1112233" not in json.dumps(browser.read(receiver.wait_for(1)[0].body)).replace(" ", "")


def test_the_chat_that_the_user_sees_is_not_pushed(chat: Conversation, receiver: Receiver) -> None:
    user = boris(chat.chat_channel)
    Browser(user, receiver.url("/mine"))
    presence.record_heartbeat(chat.pk, user=user, writes=False, is_here=True)
    mark_written(chat)

    assert sending.send_pushes() == 0 and receiver.requests == []
    assert PushMessage.objects.get().next_attempt_at is None


@pytest.mark.parametrize(
    "status, is_subscribed, is_retried",
    [(410, False, False), (403, False, False), (503, True, True), (413, True, False)],
)
def test_the_answer_of_the_push_service_decides(
    chat: Conversation, receiver: Receiver, status: int, is_subscribed: bool, is_retried: bool
) -> None:
    Browser(boris(chat.chat_channel), receiver.url("/mine"))
    receiver.answer("/mine", status=status)
    mark_written(chat)

    assert sending.send_pushes() == 0
    PushMessage.objects.exclude(next_attempt_at=None).update(next_attempt_at=timezone.now())
    receiver.answer("/mine", status=201)
    again = sending.send_pushes()
    PushMessage.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    sending.send_pushes()

    assert PushSubscription.objects.exists() is is_subscribed and again == is_retried
    assert not PushMessage.objects.filter(created_at__lt=timezone.now() - timedelta(minutes=10)).exists()


def test_signing_out_ends_the_subscription(chat: Conversation, receiver: Receiver) -> None:
    browser = Browser(boris(chat.chat_channel), receiver.url("/mine"))
    browser.client.post("/logout/")
    mark_written(chat)

    assert sending.send_pushes() == 0 and not PushSubscription.objects.exists() and receiver.requests == []


def test_nothing_is_asked_while_nobody_subscribes(chat: Conversation, django_assert_max_num_queries: Any) -> None:
    mark_written(chat)
    notify([vera().pk], "woken", chat.pk)

    with django_assert_max_num_queries(3):  # the lock, and whether there is a subscription
        assert sending.send_pushes() == 0
    assert Notification.objects.count() == 1 and not PushMessage.objects.exists()


def test_own_devices_are_listed_tested_and_removed(receiver: Receiver) -> None:
    browser = Browser(vera(), receiver.url("/mine"))
    page = browser.client.get("/desk/settings/").content.decode()
    number = PushSubscription.objects.get().pk

    assert "Firefox" in page and keys.get_public_key() in page
    assert browser.client.post("/desk/push/test/", {"for_user": browser.user.pk}).json() == {"devices": 1}
    assert sending.send_pushes() == 1
    assert browser.read(receiver.wait_for(1)[0].body)["title"] == "Notifications work"
    assert Browser(gleb(), "https://fcm.googleapis.com/2").client.post("/desk/push/delete/", {"device": number})
    assert PushSubscription.objects.filter(pk=number).exists()  # another user's
    browser.client.post("/desk/push/delete/", {"device": number})
    assert not PushSubscription.objects.filter(pk=number).exists()


def test_repeated_tests_send_one_message(receiver: Receiver, monkeypatch: Any) -> None:
    browser, now = Browser(vera(), receiver.url("/mine")), timezone.now()
    monkeypatch.setattr(sending.service_window, "database_now", lambda: now)

    for _click in range(3):
        assert browser.client.post("/desk/push/test/", {"for_user": browser.user.pk}).json() == {"devices": 1}

    assert PushMessage.objects.count() == 1


def test_the_pages_of_the_app_need_no_sign_in(client: Client) -> None:
    manifest = client.get("/manifest.webmanifest").json()
    worker = client.get("/service-worker.js")

    assert manifest["start_url"] == "/chats/" and {icon["sizes"] for icon in manifest["icons"]} == {
        "192x192",
        "512x512",
    }
    assert worker.headers["Content-Type"].startswith("text/javascript") and "&#x27;" not in worker.content.decode()
    assert all(client.get(icon["src"]).status_code == 200 for icon in manifest["icons"])
    assert "No connection" in client.get("/offline/", headers={"accept-language": "en"}).content.decode()


def test_own_status_and_settings_are_saved(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    desk = Client(headers={"accept-language": "en"})
    desk.force_login(user)

    chosen = desk.post("/desk/availability/", {"choice": "dnd-30", "next": "/requests/", "for_user": user.pk})
    row = OperatorAvailability.objects.get(user=user)
    values = {"notify-kinds": ["message"], "notify-scope": "mine", "notify-sound": "drop", "notify-volume": "30"}
    saved = desk.post("/desk/settings/notifications/", values | {"notify-away_after": "5", "for_user": user.pk})

    assert (chosen["Location"], row.status) == ("/requests/", "dnd") and row.until is not None
    assert timedelta(minutes=29) < row.until - timezone.now() <= timedelta(minutes=30)
    assert "Do not disturb until" in desk.get("/requests/").content.decode()
    assert saved.status_code == 302
    settings = NotificationSettings.objects.get(user=user)
    assert settings.muted_kinds == ["assigned", "mentioned", "closing", "woken"] and settings.shows_text is False
    assert OperatorAvailability.objects.get(user=user).away_after_minutes == 5
    assert desk.post("/desk/availability/", {"choice": "nothing"}).status_code == 400
    for text in ("https://evil.example/", "//evil.example/", "javascript:alert(1)", "7", "2026-W48-3", "a:b", "chats"):
        elsewhere = desk.post("/desk/availability/", {"choice": "online", "next": text})
        assert elsewhere["Location"] == "/chats/", text


def test_a_reminder_of_an_absent_assignee_goes_to_the_others(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    condition = availability.is_away_condition("%s")

    def is_away() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {condition}", [user.pk])
            return bool(cursor.fetchone()[0])

    assert not is_away()  # never at the desk: nothing is known
    availability.record_seen(user.pk)
    assert not is_away()
    availability.choose_status(user, "away")
    assert is_away()
    availability.choose_status(user, "online")
    OperatorAvailability.objects.update(last_seen_at=timezone.now() - timedelta(minutes=5))
    assert is_away()


def test_the_last_poll_of_a_deleted_user_is_no_error(chat: Conversation) -> None:
    user = boris(chat.chat_channel)
    availability.record_seen(user.pk)
    first = OperatorAvailability.objects.get().last_seen_at
    availability.record_seen(user.pk)  # within WRITE_SECONDS
    assert OperatorAvailability.objects.get().last_seen_at == first
    OperatorAvailability.objects.update(last_seen_at=timezone.now() - timedelta(seconds=31))
    availability.record_seen(user.pk)
    assert OperatorAvailability.objects.get().last_seen_at > first

    pk = user.pk
    user.delete()
    availability.record_seen(pk)

    connection.check_constraints()
    assert not OperatorAvailability.objects.exists()
