"""The main task over WhatsApp Cloud: real HTTP, a real worker, and a Meta simulator at the other end.

Anna writes on her phone, Boris answers at the desk. The simulator follows Meta's rules, not ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge.models import Attachment, Conversation, Delivery, Message, RateLimit, ServiceWindow, WebhookEvent
from bridge.relay import reply_submission
from bridge.tasks import send_due_deliveries
from channels_setup.models import ApiChannel
from channels_setup.provisioning import add_api_channel
from templates_registry.models import Status, Template
from templates_registry.provider import provider_sync
from tests.factories import ChatChannelFactory, boris, vera
from tests.pages import page_html
from tests.processes import eventually
from tests.scenarios.sending import move_windows_back
from tests.simulators.behavior import Behavior
from tests.simulators.meta import MetaSimulator
from tests.simulators.phones import Phone
from tests.template_shapes import SHAPES
from tests.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

ANNA = "447700900101"


@dataclass
class Shop:
    channel: ApiChannel
    meta: MetaSimulator
    worker: Worker
    operator: Any

    @property
    def anna(self) -> Phone:
        return self.meta.phone(ANNA, name="Анна Петрова")

    def anna_writes(self, text: str, **more: Any) -> Message:
        """Write as Anna. Return the message once it is in the chat."""
        wamid = self.anna.writes(text, **more)
        return eventually(lambda: Message.objects.filter(external_id=wamid).first())

    def boris_answers(self, text: str) -> Message:
        handed_in = reply_submission.submit_reply(
            conversation_id=self.chat.pk, text=text, author=self.operator, keep_draft=True
        )
        assert handed_in.message, handed_in.decision.reason
        return handed_in.message

    def boris_sends(self, template: Template, *values: str) -> Message:
        handed_in = reply_submission.submit_template_reply(
            conversation_id=self.chat.pk, template_id=template.pk, parameters=list(values), author=self.operator
        )
        assert handed_in.message, handed_in.decision.reason
        return handed_in.message

    @property
    def chat(self) -> Conversation:
        return Conversation.objects.get()

    def page(self, client: Any) -> str:
        client.force_login(self.operator)
        return str(client.get(f"/chats/{self.chat.pk}/").content.decode())

    def a_day_later(self) -> None:
        """Move the simulator and the portal one day ahead."""
        self.meta.later(hours=25)
        move_windows_back(timedelta(hours=25))

    def try_again(self) -> None:
        """Make every waiting retry due now."""
        Delivery.objects.filter(state="pending").update(next_attempt_at=timezone.now())
        send_due_deliveries.delay()

    def settle(self) -> None:
        self.meta.quiet()
        self.worker.settle()


@pytest.fixture
def shop(live_server: Any, worker: Worker) -> Iterator[Shop]:
    with MetaSimulator(seed=1, own_media_host=False, behavior=Behavior(retry_seconds=0.1, gather_seconds=0.2)) as meta:
        values = {
            "phone_number_id": meta.phone_number_id,
            "waba_id": meta.waba_id,
            "access_token": meta.access_token,
            "app_secret": meta.webhook_sender.app_secret,
            "verify_token": meta.verify_token,
            "base_url": meta.url,
        }
        chat_channel = ChatChannelFactory()
        channel = add_api_channel(
            kind="whatsapp_cloud", name="WhatsApp", chat_channel=chat_channel, settings=values, tracks=[]
        )
        assert meta.connect(live_server.url + channel.webhook_path)
        yield Shop(channel=channel, meta=meta, worker=worker, operator=boris(chat_channel))


def becomes(message: Message, *statuses: str) -> Message:
    """Return the message once it has one of these statuses."""
    return eventually(lambda: Message.objects.filter(pk=message.pk, status__in=statuses).first())


# --- messages and replies --------------------------------------------------------------------------------------


def test_a_message_its_reply_and_the_statuses_pass(shop: Shop, client: Any) -> None:
    shop.anna_writes("Здравствуйте! Сапоги 38/39 есть? 👢")

    answer = shop.boris_answers("Есть, приезжайте 🙌")

    becomes(answer, "delivered")
    assert [sent.text for sent in shop.anna.received] == ["Есть, приезжайте 🙌"]
    shop.anna.reads()
    becomes(answer, "read")
    page = shop.page(client)
    assert "Сапоги 38/39 есть? 👢" in page
    assert "Анна Петрова" in page


def test_a_reply_to_one_of_two_questions_quotes_it(shop: Shop) -> None:
    first = shop.anna_writes("Сколько стоят сапоги?")
    shop.anna_writes("И когда привезёте?")

    submitted = reply_submission.submit_reply(
        conversation_id=shop.chat.pk, text="4 500 рублей", author=shop.operator, replies_to=first.pk
    )

    assert submitted.message
    becomes(submitted.message, "delivered")
    assert [sent.body["context"] for sent in shop.anna.received] == [{"message_id": first.external_id}]


def test_after_the_window_a_template_is_sent_with_its_values(shop: Shop) -> None:
    shop.meta.add_template("order_ready", body="Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.")
    provider_sync.sync_channel(shop.channel)
    shop.anna_writes("Когда?")
    shop.a_day_later()

    refused = reply_submission.submit_reply(
        conversation_id=shop.chat.pk, text="Простите, задержались", author=shop.operator
    )
    sent = shop.boris_sends(Template.objects.get(), "Анна", "№ 42")

    assert refused.decision.reason == "window_closed"
    becomes(sent, "delivered")
    assert [got.text for got in shop.anna.received] == ["Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."]
    assert shop.meta.sent[0].kind == "template"


def test_buttons_and_header_of_a_template_are_sent_in_metas_format(shop: Shop) -> None:
    components = [
        {"type": "HEADER", "format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["42"]}},
        {"type": "BODY", "text": "Готов, {{1}}, ждёт вас.", "example": {"body_text": [["Анна"]]}},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "URL", "text": "Путь", "url": "https://x.example/{{1}}", "example": ["https://x.example/1"]},
                {"type": "QUICK_REPLY", "text": "Отменить"},
            ],
        },
    ]
    shop.meta.add_template("rich", components=components)
    provider_sync.sync_channel(shop.channel)
    shop.anna_writes("?")
    template = Template.objects.get()

    handed_in = reply_submission.submit_template_reply(
        conversation_id=shop.chat.pk,
        template_id=template.pk,
        parameters={"header.1": "№ 42", "1": "Анна", "button.0": "a42"},
        author=shop.operator,
    )
    assert handed_in.message, handed_in.decision

    becomes(handed_in.message, "delivered")
    assert shop.anna.received[0].text == (
        "Заказ № 42\nГотов, Анна, ждёт вас.\n[Путь](https://x.example/a42)\n[Отменить]"
    )
    wamid = shop.anna.presses("Отменить", of=shop.anna.received[0].id)
    pressed = eventually(lambda: Message.objects.filter(external_id=wamid).first())
    assert pressed.text == "Отменить"
    assert pressed.quoted == handed_in.message


# --- refusals by Meta -----------------------------------------------------------------------------------------


def test_meta_reports_a_closed_window_that_our_clock_has_open(shop: Shop, client: Any) -> None:
    shop.anna_writes("?")
    shop.meta.later(hours=24)

    answer = shop.boris_answers("Мы думали, ещё можно")

    failed = becomes(answer, "failed")
    assert failed.details["code"] == "131047"
    assert "131047" in shop.page(client)
    assert shop.anna.received == []


@pytest.mark.parametrize("tell", ["answer", "status", "both"])
def test_a_failure_from_any_report_shows_its_code_in_the_chat(shop: Shop, client: Any, tell: str) -> None:
    shop.anna_writes("?")
    shop.meta.behave(fail=131026, tell=tell)

    answer = shop.boris_answers("Алло?")

    failed = becomes(answer, "failed")
    shop.settle()
    assert failed.details["code"] == "131026"
    page = shop.page(client)
    assert "131026" in page
    assert "Message undeliverable" in page
    assert len([called for called in shop.meta.api_calls if called.method == "POST"]) == 1


def test_one_contacts_limit_delays_only_that_contact(shop: Shop) -> None:
    oleg = shop.meta.phone("447700900102", name="Олег")
    shop.anna_writes("?")
    annas = shop.chat
    shop.meta.behave(reject=131056)
    waits = reply_submission.submit_reply(conversation_id=annas.pk, text="Анне", author=shop.operator).message
    assert waits
    mine = Delivery.objects.filter(message=waits, attempts__gt=0, state="pending")
    # It would be retried after one second, then after four; here it is held while the test looks.
    eventually(lambda: mine.update(next_attempt_at=timezone.now() + timedelta(hours=1)))
    shop.meta.behave(reject=0)

    oleg.writes("А мне?")
    olegs = eventually(lambda: Conversation.objects.exclude(pk=annas.pk).first())
    goes = reply_submission.submit_reply(conversation_id=olegs.pk, text="Олегу", author=shop.operator).message
    assert goes

    becomes(goes, "delivered")
    assert Message.objects.get(pk=waits.pk).status in ("pending", "sending")
    RateLimit.objects.all().delete()
    shop.try_again()
    becomes(waits, "delivered")
    assert [sent.text for sent in shop.meta.sent] == ["Олегу", "Анне"]


def test_an_expired_token_pauses_the_channel_and_a_new_one_resumes_it(shop: Shop) -> None:
    from channels_setup import account_settings

    shop.anna_writes("?")
    shop.meta.access_token = "EAAnew"
    answer = shop.boris_answers("Дойдёт")
    eventually(lambda: ApiChannel.objects.get().state == "paused")
    assert shop.meta.sent == []

    channel = ApiChannel.objects.get()
    account_settings.save_values(channel, account_settings.clean_values(channel, {"access_token": "EAAnew"}))
    shop.try_again()

    becomes(answer, "delivered")
    assert ApiChannel.objects.get().state == "live"


# --- unknown outcomes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "half", "html"])
def test_an_unknown_outcome_is_settled_by_its_status_and_never_sent_again(shop: Shop, how: str) -> None:
    shop.anna_writes("?")
    shop.meta.behave(answer=how, times=1)
    shop.meta.behave(delay_statuses=0.5)

    answer = shop.boris_answers("Один раз")

    becomes(answer, "delivered")
    shop.try_again()
    shop.settle()
    assert [sent.text for sent in shop.anna.received] == ["Один раз"]
    delivery = Delivery.objects.get(message=answer)
    assert (delivery.state, delivery.key) == ("delivered", shop.anna.received[0].key)
    assert Message.objects.get(pk=answer.pk).external_id == shop.anna.received[0].id


def test_a_status_before_the_cut_connection_settles_it_too(shop: Shop) -> None:
    shop.anna_writes("?")
    shop.meta.behave(answer="cut", statuses_first=True, statuses="delivered", times=1)

    answer = shop.boris_answers("Один раз")

    becomes(answer, "delivered")
    eventually(lambda: not Delivery.objects.filter(state="sending").exists())
    shop.settle()
    assert Message.objects.get(pk=answer.pk).status == "delivered"
    assert Delivery.objects.get(message=answer).state == "delivered"


def test_a_message_that_surely_did_not_arrive_is_resent_once(shop: Shop) -> None:
    shop.anna_writes("?")
    shop.meta.behave(answer="500", times=1)

    answer = shop.boris_answers("Со второго раза")
    eventually(lambda: Delivery.objects.filter(message=answer, attempts=1, state="pending").exists())
    shop.try_again()

    becomes(answer, "delivered")
    assert [sent.text for sent in shop.anna.received] == ["Со второго раза"]


def test_a_status_that_comes_before_its_message_has_an_id_is_not_lost(shop: Shop) -> None:
    shop.anna_writes("?")
    shop.meta.behave(statuses_first=True, statuses="delivered")

    answer = shop.boris_answers("Быстрее ответа")

    becomes(answer, "delivered")
    shop.settle()
    assert Message.objects.get(pk=answer.pk).status == "delivered"


# --- order and repetition of webhooks -------------------------------------------------------------------------


def test_duplicated_and_shuffled_webhooks_are_stored_once_in_order(shop: Shop) -> None:
    shop.meta.behave(double=1, reorder=5, batch=2, gather_seconds=1)
    start = shop.meta.now() - 600
    texts = [f"строка {number}" for number in range(15)]

    for number, text in enumerate(texts):
        shop.anna.writes(text, at=start + number)
    shop.settle()

    stored = Message.objects.order_by("provider_time", "pk").values_list("text", flat=True)
    assert list(stored) == texts
    assert Conversation.objects.count() == 1
    window = ServiceWindow.objects.get()
    assert abs((window.expires_at - timedelta(hours=24)).timestamp() - (start + 14)) < 2


def test_statuses_in_any_order_end_at_the_furthest(shop: Shop) -> None:
    shop.anna_writes("?")
    shop.meta.behave(statuses="read,sent,delivered", reorder=3, gather_seconds=1)

    answer = shop.boris_answers("Прочитали")

    becomes(answer, "read")
    shop.settle()
    assert Message.objects.get(pk=answer.pk).status == "read"


def test_a_forged_webhook_is_ignored_and_the_real_one_accepted(shop: Shop) -> None:
    for how in ("wrong", "none", "sha1"):
        shop.meta.behave(sign=how, times=1)
        shop.anna_writes(f"подпись {how}")

    shop.settle()
    assert [posted.status for posted in shop.meta.webhook_sender.posted] == [403, 200] * 3
    assert WebhookEvent.objects.count() == 3
    assert Message.objects.count() == 3


def test_a_batch_of_many_senders_is_distributed_to_their_chats(shop: Shop) -> None:
    shop.meta.behave(batch=60, gather_seconds=5)

    for number in range(60):
        shop.meta.phone(f"4477009002{number % 20:02}", name=f"Клиент {number % 20}").writes(f"{number}")
    shop.settle()

    assert [posted.status for posted in shop.meta.webhook_sender.posted] == [200]
    assert Message.objects.count() == 60
    assert Conversation.objects.count() == 20
    for chat in Conversation.objects.all():
        texts = [int(text) for text in chat.messages.order_by("pk").values_list("text", flat=True)]
        assert texts == sorted(texts) and len(texts) == 3


# --- other message types ---------------------------------------------------------------------------------------


def test_a_reaction_an_edit_and_a_deletion_are_shown_with_their_message(shop: Shop, client: Any) -> None:
    first, second = shop.anna_writes("Сапоги красные?"), shop.anna_writes("Лишнее")
    answer = becomes(shop.boris_answers("Красные"), "delivered")

    shop.anna.reacts("👍", to=shop.anna.received[0].id)
    shop.anna.edits(first.external_id, "Сапоги синие?")
    shop.anna.revokes(second.external_id)
    shop.settle()

    assert Message.objects.get(pk=answer.pk).reactions == [{"by": "client", "emoji": "👍"}]
    assert Message.objects.get(pk=first.pk).text == "Сапоги синие?"
    assert Message.objects.get(pk=second.pk).shown.get("revoked_at")
    assert Message.objects.count() == 3
    assert "Сапоги синие?" in shop.page(client)


def test_a_location_a_contact_card_and_a_choice_are_readable(shop: Shop, client: Any) -> None:
    shop.anna.sends_location(55.779491, 37.588823, name="Пункт выдачи")
    shop.anna.sends_card("Вера Белова", "+44 7700 900103")
    shop.anna.chooses("Завтра", of="wamid.unknown", kind="list_reply")
    shop.anna.sends_unsupported()
    shop.settle()

    page = shop.page(client)
    for piece in ("55.779491", "Пункт выдачи", "Вера Белова", "+44 7700 900103", "Завтра"):
        assert piece in page
    assert Message.objects.count() == 4
    assert ServiceWindow.objects.filter(state="open").count() == 1


def test_a_reply_from_our_own_phone_is_outbound_and_opens_no_window(shop: Shop) -> None:
    shop.anna_writes("?")
    shop.a_day_later()

    wamid = shop.meta.echo(shop.anna, "Ответил с телефона")

    echo = eventually(lambda: Message.objects.filter(external_id=wamid).first())
    shop.settle()
    assert (echo.direction, echo.text) == (Message.Direction.OUTBOUND, "Ответил с телефона")
    assert not Delivery.objects.filter(message=echo).exists()
    assert shop.meta.sent == []
    refused = reply_submission.submit_reply(conversation_id=shop.chat.pk, text="?", author=shop.operator)
    assert refused.decision.reason == "window_closed"


def test_a_client_with_a_hidden_number_is_answered_by_user_id(shop: Shop) -> None:
    mia = shop.meta.phone("12025550143", name="Mia", username="@mia", hides_number=True)
    mia.writes("Hi")
    eventually(lambda: Message.objects.exists())

    becomes(shop.boris_answers("Hello, Mia"), "delivered")
    mia.hides_number = False
    mia.writes("Here is my number")
    shop.settle()

    assert [sent.body.get("recipient") for sent in mia.received] == [mia.user_id]
    contact = shop.chat.contact
    assert (contact.user_id, contact.phone) == (mia.user_id, "+12025550143")
    assert Message.objects.filter(direction=Message.Direction.INBOUND, conversation=shop.chat).count() == 2


def test_a_new_number_is_reported_and_gets_the_replies(shop: Shop) -> None:
    shop.anna_writes("Меняю номер")
    chat = shop.chat

    anna = shop.anna
    anna.changes_number("447700900111")
    shop.settle()
    becomes(shop.boris_answers("Записали"), "delivered")

    assert shop.chat == chat
    assert anna.received[0].body["to"] == "+447700900111"


def test_a_picture_is_downloaded_with_the_token_and_shown(shop: Shop) -> None:
    picture = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40

    wamid = shop.anna.sends_image(picture, caption="Вот такие")

    attachment = eventually(
        lambda: Attachment.objects.filter(message__external_id=wamid, state=Attachment.State.AVAILABLE).first()
    )
    assert attachment.file.read() == picture
    assert (attachment.mime, attachment.message.text) == ("image/jpeg", "Вот такие")


# --- the account -----------------------------------------------------------------------------------------


def test_templates_follow_metas_list_and_webhooks(shop: Shop) -> None:
    row = shop.meta.add_template("autumn", body="Осень, {{1}}, пришла.")
    for number in range(3):
        shop.meta.add_template(f"other_{number}", body="Да.")
    provider_sync.sync_channel(shop.channel)
    assert Template.objects.count() == 4

    shop.meta.review(row, "PAUSED", other_info={"title": "FIRST_PAUSE", "description": "Paused for 3 hours."})
    eventually(lambda: Template.objects.get(name="autumn").status == Status.PAUSED)
    shop.meta.grade(row, "RED")
    shop.settle()

    assert Template.objects.get(name="autumn").status == Status.PAUSED


def test_an_admin_checks_the_connection(shop: Shop, client: Any) -> None:
    client.force_login(vera())

    page = page_html(client, f"/admin/channels_setup/apichannel/{shop.channel.pk}/change/")

    assert shop.meta.access_token not in page
    assert shop.meta.webhook_sender.app_secret not in page


def test_templates_of_every_kind_are_synced_and_sent_completely(shop: Shop) -> None:
    listed = {name: shape for name, shape in SHAPES.items() if name != "otp as listed"}  # with the other three
    for name, shape in listed.items():
        row = shape.row(name.replace(" ", "_").replace("-", "_"))
        shop.meta.add_template(row.pop("name"), **row)
    provider_sync.sync_channel(shop.channel)
    shop.anna_writes("Здравствуйте")

    for name, shape in listed.items():
        template = Template.objects.get(name=name.replace(" ", "_").replace("-", "_"))
        submitted = reply_submission.submit_template_reply(
            conversation_id=shop.chat.pk, template_id=template.pk, parameters=shape.values, author=shop.operator
        )
        assert submitted.message, (name, submitted.decision.sentence)

    eventually(lambda: len(shop.anna.received) == len(listed))
    assert not Message.objects.filter(direction="outbound", status="failed").exists()
    assert any("[DOCUMENT Счёт-5.pdf]" in one.text for one in shop.anna.received)
