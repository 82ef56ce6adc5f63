"""Template texts and links offered to operators of an external helpdesk: pasted texts are sent, links open a page."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone, translation

from bridge.conversations import receiving
from bridge.fanout import template_links
from bridge.files import uploads
from bridge.helpdesk import incoming
from bridge.maintenance import erasure, housekeeping
from bridge.models import Conversation, Delivery, Message, TemplateLink
from bridge.relay import reply_submission
from channels_setup.models import ChatChannel
from templates_registry.models import Status, Template
from templates_registry.pasteable import is_pasteable, text_to_paste
from tests.factories import ApiChannelFactory, ConversationFactory, TemplateFactory, vera
from tests.pages import SCRIPT
from tests.races import run_blocked
from tests.scenarios.sending import outbound_texts
from tests.scenarios.shape_templates import list_at_meta, refusal_code, store_template
from tests.template_shapes import LINK, SHAPES, UNFILLABLE

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat() -> Conversation:
    outside = ChatChannel.objects.create(name="Юздеск", kind="usedesk", options={"language": "en"})
    conversation: Conversation = ConversationFactory(
        api_channel=ApiChannelFactory(kind="whatsapp_cloud", watched=outside), name="Анна Петрова"
    )
    return conversation


def refused(chat: Conversation, text: str) -> str:
    """Return the note on an operator's text that could not be sent."""
    assert incoming._submit_text(chat, text, by="") is None
    return str(Delivery.objects.filter(kind=Delivery.Kind.NOTE).latest("pk").payload["text"])


def link_in(note: str) -> str:
    [found] = re.findall(r"https?://[^/\s]+(/send/\S+)", note)
    return str(found)


# --- texts to paste --------------------------------------------------------------------------------------


def carried_by_a_paste(name: str) -> bool:
    return SHAPES[name].pastable or name == "header text"


@pytest.mark.parametrize("name", SHAPES)
def test_only_templates_that_text_completes_are_offered_to_paste(chat: Conversation, name: str) -> None:
    template = store_template(chat.api_channel, name)
    complete = carried_by_a_paste(name)

    note = refused(chat, "Простите за ожидание")

    assert is_pasteable(template) == complete
    assert (text_to_paste(template.definition) in note) == complete
    assert "/send/" in note and "/templates/" not in note
    if complete:
        filled = re.sub(r"\{\{\w+\}\}", "4829", text_to_paste(template.definition))
        assert reply_submission.submit_reply(conversation_id=chat.pk, text=filled, author=None).message


def test_labels_replace_values_and_are_not_sent_as_values(chat: Conversation) -> None:
    TemplateFactory(api_channel=chat.api_channel, variables=[{"key": "1", "label": "Имя"}, {"key": "2"}])

    note = refused(chat, "Простите")

    assert "Здравствуйте, [Имя]! Ваш заказ {{2}} готов к выдаче." in note
    assert "is not filled in" in refused(chat, "Здравствуйте, [Имя]! Ваш заказ 42 готов к выдаче.")


def test_a_template_that_cannot_be_filled_is_not_offered(chat: Conversation) -> None:
    store_template(chat.api_channel, "button", UNFILLABLE["button"][0])

    note = refused(chat, "Простите")

    assert "/send/" not in note and "no approved template" in note


# --- page of a link --------------------------------------------------------------------------------------


def test_an_operator_chooses_between_two_languages_with_one_text(chat: Conversation, client: Client) -> None:
    for language in ("en", "en_US"):
        TemplateFactory(
            api_channel=chat.api_channel, name="hi", language=language, body="Hi {{1}}, welcome.", examples=("Ann",)
        )
    note = refused(chat, "Hi Anna, welcome.")
    url = link_in(note)

    listing = client.get(url).content.decode()
    assert listing.count("Hi Anna, welcome.") == 2 and "en_US" in listing
    choices = re.findall(r'href="(\?choice=\d+)"', listing)
    page = client.get(url + choices[1]).content.decode()
    assert ">\nAnna</textarea>" in page and "en_US" in page

    done = client.post(url + choices[1], {"v.1": "Anna", "go": "1"})

    assert "Hi Anna, welcome." in done.content.decode()
    message = Message.objects.get(direction="outbound")
    assert message.template and message.template["language"] == "en_US" and message.conversation_id == chat.pk
    note = str(Delivery.objects.filter(kind=Delivery.Kind.NOTE).latest("pk").payload["text"])
    assert "Sent to the client as the template “hi” (en_US)" in note


@pytest.mark.parametrize(
    "name", [name for name, shape in SHAPES.items() if not (shape.pastable or name == "header text")]
)
def test_values_missing_in_a_paste_are_entered_on_the_page(chat: Conversation, client: Client, name: str) -> None:
    shape, template = SHAPES[name], store_template(chat.api_channel, name)
    values = {key: value for key, value in shape.values.items() if key in ("1",)}
    url = link_in(refused(chat, template.definition.body.replace("{{1}}", "42")))

    page = client.get(url).content.decode()
    for key in shape.values:
        assert f'name="v.{key}"' in page
    for value in values.values():
        assert f">\n{value}</textarea>" in page
    incomplete = client.post(url, {f"v.{key}": value for key, value in values.items()} | {"go": "1"})
    assert incomplete.status_code == 422 and outbound_texts() == []

    client.post(url, {f"v.{key}": value for key, value in shape.values.items()} | {"go": "1"})

    message = Message.objects.get(direction="outbound")
    assert message.template
    assert refusal_code(list_at_meta(shape, name), message.template["components"]) == 0


def test_the_page_shows_the_message_as_the_operator_types(chat: Conversation, client: Client) -> None:
    TemplateFactory(api_channel=chat.api_channel, buttons=[LINK])
    url = link_in(refused(chat, "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."))

    part = client.post(url, {"v.1": "Мария", "v.2": "№ 43"}, headers=SCRIPT).content.decode()

    assert "Здравствуйте, Мария! Ваш заказ № 43 готов" in part and "<html" not in part
    assert outbound_texts() == []


def test_without_a_suggestion_any_template_of_the_channel_can_be_chosen(chat: Conversation, client: Client) -> None:
    TemplateFactory(api_channel=chat.api_channel, name="ours", body="Готово!", examples=())
    TemplateFactory(api_channel=chat.api_channel, name="paused", status=Status.PAUSED)
    other: Template = TemplateFactory(api_channel=ApiChannelFactory(kind="whatsapp_cloud"), name="theirs")
    store_template(chat.api_channel, "unfillable", UNFILLABLE["component"][0])
    TemplateFactory(api_channel=chat.api_channel, name="second", body="Ждём вас!", examples=())
    url = link_in(refused(chat, "Простите"))

    listing = client.get(url).content.decode()

    assert "ours" in listing and "second" in listing
    assert not any(name in listing for name in ("paused", "theirs", "unfillable"))
    client.post(f"{url}?choice={other.pk}", {"go": "1", "v.1": "a", "v.2": "b"})
    assert outbound_texts() == []


def test_a_known_name_is_filled_in(chat: Conversation, client: Client) -> None:
    labels = [{"key": "1", "label": "Имя клиента", "example": "Мария"}]
    TemplateFactory(api_channel=chat.api_channel, body="Здравствуйте, {{1}}!", buttons=[LINK], variables=labels)

    page = client.get(link_in(refused(chat, "Простите"))).content.decode()

    assert ">\nАнна</textarea>" in page


def test_repeated_submissions_of_a_link_send_one_message(chat: Conversation, client: Client) -> None:
    TemplateFactory(api_channel=chat.api_channel, body="Готово!", examples=())
    url = link_in(refused(chat, "Простите"))

    for _ in range(3):
        assert "Готово!" in client.post(url, {"go": "1"}).content.decode()
    assert "cannot be used again" in client.get(url, headers={"Accept-Language": "en"}).content.decode()

    assert outbound_texts() == ["Готово!"]
    assert Delivery.objects.filter(kind=Delivery.Kind.NOTE).count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_simultaneous_submissions_send_one_message(chat: Conversation) -> None:
    TemplateFactory(api_channel=chat.api_channel, body="Готово!", examples=())
    url = link_in(refused(chat, "Простите"))

    def press(_number: int) -> int:
        try:
            return int(Client().post(url, {"go": "1"}).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(press, range(4))) == [200] * 4

    assert outbound_texts() == ["Готово!"]


@pytest.mark.django_db(transaction=True)
def test_a_concurrent_erasure_neither_deadlocks_nor_breaks_the_page(chat: Conversation) -> None:
    TemplateFactory(api_channel=chat.api_channel, body="Готово!", examples=())
    url = link_in(refused(chat, "Простите"))

    pressed = run_blocked(
        lambda: Client().post(url, {"go": "1"}).status_code,
        hold=lambda: receiving.lock_conversation(chat.pk),  # as a merge and an erasure do
        then=lambda: TemplateLink.objects.filter(conversation=chat).delete(),
    )

    assert pressed.result() == 404
    assert outbound_texts() == []


def test_a_link_moved_while_in_use_sends_nothing_in_the_previous_chat(
    chat: Conversation, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    TemplateFactory(api_channel=chat.api_channel, body="Готово!", examples=())
    url = link_in(refused(chat, "Простите"))
    other = ConversationFactory(api_channel=chat.api_channel)
    lock = receiving.lock_conversation

    def moved_meanwhile(pk: int) -> Conversation:
        TemplateLink.objects.filter(conversation=chat).update(conversation=other)
        return lock(pk)

    monkeypatch.setattr(receiving, "lock_conversation", moved_meanwhile)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"

    refusal_page = client.post(url, {"go": "1"})
    assert refusal_page.status_code == 422 and "Nothing was sent. Try again." in refusal_page.content.decode()
    assert outbound_texts() == []

    assert client.post(url, {"go": "1"}).status_code == 200
    assert Message.objects.get(direction="outbound").conversation_id == other.pk


# --- access ----------------------------------------------------------------------------------------------


@pytest.fixture
def link(chat: Conversation) -> TemplateLink:
    TemplateFactory(api_channel=chat.api_channel, body="Готово!", examples=())
    refused(chat, "Простите")
    return TemplateLink.objects.get()


def path(link: TemplateLink) -> str:
    return "/send/" + template_links.build_link_url(link).partition("/send/")[2]


def test_a_link_is_bound_to_its_chat_and_its_note(link: TemplateLink, chat: Conversation) -> None:
    assert link.conversation == chat and link.note is not None
    assert path(link) in link.note.payload["text"]


@pytest.mark.parametrize("change", ["1", "x", ":"])
def test_a_forged_link_is_not_found(link: TemplateLink, client: Client, change: str) -> None:
    assert client.get(path(link).rstrip("/") + change + "/").status_code == 404
    assert client.get(f"/send/{link.pk}/").status_code == 404
    assert client.get("/send/%00:%00/").status_code == 404


def test_a_files_signature_opens_no_template(link: TemplateLink, client: Client) -> None:
    assert client.get(f"/send/{uploads._signer.sign(str(link.pk))}/").status_code == 404


@pytest.mark.parametrize(("language", "words"), [("en", "This link has expired"), ("ru", "Срок действия ссылки истёк")])
def test_an_expired_link_shows_that_it_has_expired(
    link: TemplateLink, client: Client, language: str, words: str
) -> None:
    TemplateLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    page = client.post(path(link), {"go": "1"}, headers={"Accept-Language": language})

    assert page.status_code == 410 and words in page.content.decode()
    assert outbound_texts() == []


def test_a_used_link_that_has_expired_shows_no_text(link: TemplateLink, client: Client) -> None:
    client.post(path(link), {"go": "1"})
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    assert "Готово!" in client.get(path(link)).content.decode()

    TemplateLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    page = client.get(path(link))
    assert page.status_code == 200 and "cannot be used again" in page.content.decode()
    assert "Готово!" not in page.content.decode()


def test_calls_of_a_link_are_rate_limited(link: TemplateLink, client: Client) -> None:
    TemplateLink.objects.update(calls=template_links.MAX_CALLS_PER_MINUTE, calls_since=timezone.now())
    assert client.post(path(link), {"go": "1"}).status_code == 429
    assert outbound_texts() == []

    TemplateLink.objects.update(calls_since=timezone.now() - timedelta(minutes=2))
    assert client.get(path(link)).status_code == 200


def test_a_template_paused_in_the_meantime_is_not_sent(link: TemplateLink, client: Client) -> None:
    Template.objects.update(status=Status.PAUSED)

    assert client.post(path(link), {"go": "1"}).status_code == 410
    assert outbound_texts() == []


@pytest.mark.parametrize("offered", [1, 2])
def test_an_outdated_choice_sends_no_other_template(chat: Conversation, client: Client, offered: int) -> None:
    gone: Template = TemplateFactory(api_channel=chat.api_channel, name="gone", body="Готово!", examples=())
    for number in range(offered):
        TemplateFactory(api_channel=chat.api_channel, name=f"left_{number}", body=f"Ждём {number}!", examples=())
    url = link_in(refused(chat, "Простите"))
    Template.objects.filter(pk=gone.pk).update(status=Status.PAUSED)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"

    posted = client.post(f"{url}?choice={gone.pk}", {"go": "1"})
    listing = client.get(f"{url}?choice={gone.pk}")

    assert posted.status_code == 410 and "Nothing was sent." in posted.content.decode()
    assert outbound_texts() == []
    assert listing.status_code == 200 and "no longer available" in listing.content.decode()
    assert "left_0" in listing.content.decode() and 'name="go"' not in listing.content.decode()


def test_the_page_of_a_link_reveals_nothing_to_others(link: TemplateLink, client: Client) -> None:
    page = client.get(path(link))

    assert page["X-Robots-Tag"] == "noindex, nofollow"
    assert "no-store" in page["Cache-Control"] or "no-cache" in page["Cache-Control"]
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(path(link), {"go": "1"}).status_code == 403
    assert outbound_texts() == []


def test_links_of_an_erased_person_are_deleted(link: TemplateLink, chat: Conversation, client: Client) -> None:
    url = path(link)

    erasure.erase_person(chat.contact_id, by=vera())

    assert client.get(url).status_code == 404


def test_old_links_are_deleted(link: TemplateLink) -> None:
    old = timezone.now() - timedelta(days=31)
    TemplateLink.objects.update(expires_at=old)

    housekeeping.prune_expired_rows()

    assert not TemplateLink.objects.exists()


def test_the_note_is_in_the_operators_language(chat: Conversation) -> None:
    chat.chat_channel.options = {"language": "ru"}
    chat.chat_channel.save()
    TemplateFactory(api_channel=chat.api_channel, buttons=[LINK])

    with translation.override("en"):
        note = refused(chat, "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")

    assert "Заполните" in note
