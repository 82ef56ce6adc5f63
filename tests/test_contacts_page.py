"""The Contacts page and the New chat page: who sees whom, and what is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bridge.conversations import consents
from bridge.desk.contacts import listing
from bridge.desk.contacts.listing import ContactParams, ContactScope
from bridge.models import Contact, ContactConsent, Conversation, Delivery, Message, OptOut, OptOutSource
from bridge.relay import chat_starts
from bridge.relay.chat_starts import ChatStartRefused, GivenConsent
from channels_setup.models import ApiChannel, ChatChannel
from tests.factories import (
    ApiChannelFactory,
    ContactFactory,
    ConversationFactory,
    MessageFactory,
    TemplateFactory,
    boris,
    vera,
)
from tests.pages import page_html, signed_in

pytestmark = pytest.mark.django_db
CONSENT = GivenConsent(source="website", note="order form")


@pytest.fixture
def operator(channel: ApiChannel) -> Any:
    return boris(channel.default_chat_channel)  # type: ignore[arg-type]


@pytest.fixture
def template(channel: ApiChannel) -> Any:
    return TemplateFactory(api_channel=channel, body="Order {{1}} is ready.", examples=("42",))


def start(operator: Any, template: Any, phone: str = "8 921 555-01-04", **options: Any) -> chat_starts.StartedChat:
    channel = chat_starts.list_start_channels(operator)[0]
    values = {"template_id": template.pk, "parameters": ["42"], "consent": CONSENT, "author": operator} | options
    return chat_starts.start_chat(channel, phone, **values)


def test_a_chat_begins_with_a_contact_a_consent_and_a_template(operator: Any, template: Any) -> None:
    started = start(operator, template, name="Анна")

    contact = Contact.objects.get()
    assert started.message is not None and started.message.text == "Order 42 is ready."
    assert (contact.phone, contact.name, contact.name_source) == ("+79215550104", "Анна", "person")
    assert started.conversation.assignee_id == operator.pk
    consent = ContactConsent.objects.get()
    assert (consent.source, consent.note, consent.recorded_by) == ("website", "order form", operator)
    assert Delivery.objects.filter(kind=Delivery.Kind.MESSAGE).count() == 1


@pytest.mark.parametrize("spelling", ["+7 (921) 555-01-04", "79215550104", "8(921)5550104", "007 921 555 01 04"])
def test_a_second_tab_opens_the_chat_and_sends_nothing(operator: Any, template: Any, spelling: str) -> None:
    first = start(operator, template)

    second = start(operator, template, spelling)

    assert second.message is None and second.conversation.pk == first.conversation.pk
    assert Message.objects.filter(direction="outbound").count() == Contact.objects.count() == 1


@pytest.mark.parametrize("phone", ["", "12345", "Anna", "+7 921 555", "9215550104 и ещё"])
def test_a_wrong_number_is_refused(operator: Any, template: Any, phone: str) -> None:
    with pytest.raises(ChatStartRefused):
        start(operator, template, phone)
    assert not Contact.objects.exists()


def test_a_refused_template_leaves_nothing_behind(operator: Any, template: Any) -> None:
    with pytest.raises(ChatStartRefused):
        start(operator, template, parameters=[])
    with pytest.raises(ChatStartRefused):
        start(operator, template, consent=GivenConsent(source=""))
    assert not Contact.objects.exists() and not Conversation.objects.exists()


def test_a_client_who_opted_out_is_not_written_to(operator: Any, template: Any, channel: ApiChannel) -> None:
    contact = ContactFactory(api_channel=channel, external_id="", phone="+79215550104")
    consents.set_opt_out(contact.pk, OptOut.ALL, source=OptOutSource.IMPORT)

    with pytest.raises(ChatStartRefused) as refused:
        start(operator, template)

    assert refused.value.reason == "client_opted_out"
    assert not Conversation.objects.exists()


def test_the_dialog_says_why_a_channel_cannot_write_first(client: Client, operator: Any, template: Any) -> None:
    ApiChannelFactory(name="Acebot", kind="acebot", watched=operator.chat_channels.get())

    page = page_html(signed_in(client, operator), reverse("chat-new"))

    assert "Acebot" in page and "disabled" in page and "Order" not in page
    assert template.name in page


def test_the_pages_lead_from_the_number_to_the_chat(client: Client, operator: Any, template: Any) -> None:
    signed_in(client, operator)
    address = reverse("chat-new")
    first = {
        "phone": "8 921 555-01-04",
        "template": template.pk,
        "consent": "website",
        "note": "",
        "for_user": operator.pk,
    }

    wrong = client.post(address, {**first, "phone": "12", "consent": "", "fill": "1"})
    assert wrong.status_code == 422 and wrong.content.decode().count('role="alert"') >= 2
    filled = client.post(address, {**first, "fill": "1"})
    assert filled.status_code == 200 and "+7 921 555-01-04" in filled.content.decode()
    sending = {**first, "v.1": "42", "go": "1", "key": "abcdefgh12"}
    sent = client.post(address, sending)
    chat = Conversation.objects.get()
    assert sent.status_code == 302 and sent["Location"] == reverse("chat", args=[chat.pk])
    again = client.post(address, sending)
    assert again["Location"] == sent["Location"] if again.status_code == 302 else again.status_code == 422
    assert Message.objects.filter(direction="outbound").count() == 1
    looked_up = client.post(address, {**first, "lookup": "1"}, headers={"HX-Request": "true"})
    assert reverse("chat", args=[chat.pk]) in looked_up.content.decode()


def test_a_chat_of_another_channel_is_not_mentioned(client: Client, operator: Any, template: Any) -> None:
    channel = template.api_channel
    contact = ContactFactory(api_channel=channel, phone="+79215550104", name="Secret name", external_id="")
    other = ConversationFactory(
        api_channel=channel, contact=contact, chat_channel=ChatChannel.objects.create(name="Other")
    )
    MessageFactory(conversation=other)
    signed_in(client, operator)

    answer = client.post(reverse("chat-new"), {"phone": "+79215550104", "lookup": "1", "for_user": operator.pk})

    assert "Secret" not in answer.content.decode() and "/chats/" not in answer.content.decode()


# --- the list ---------------------------------------------------------------------------------------------


def find(user: Any, **params: Any) -> list[str]:
    page = listing.list_contacts(ContactScope.for_user(user), ContactParams(**params))
    names = dict(Contact.objects.values_list("pk", "name"))
    return [names[pk] for pk in page.ids]


@pytest.fixture
def people(channel: ApiChannel) -> dict[str, Contact]:
    foreign = ApiChannelFactory()
    made = {
        "Anna": ConversationFactory(api_channel=channel, name="Anna").contact,
        "Boris": ContactFactory(api_channel=channel, name="Boris", tags=["vip"], phone="+79215550105"),
        "Vera": ContactFactory(api_channel=channel, name="Vera", email="v@example.org"),
        "Gleb": ConversationFactory(api_channel=foreign, name="Gleb").contact,
        "Dina": ContactFactory(api_channel=foreign, name="Dina"),
    }
    consents.set_opt_out(made["Anna"].pk, OptOut.MARKETING, source=OptOutSource.OPERATOR)
    consents.record_consent(made["Boris"].pk, "contract")
    return made


def test_operators_see_the_clients_of_their_channels(operator: Any, people: dict[str, Contact]) -> None:
    assert find(operator) == ["Vera", "Boris", "Anna"]
    assert find(vera()) == ["Dina", "Gleb", "Vera", "Boris", "Anna"]
    assert find(operator, sort="oldest") == find(operator, sort="name") == ["Anna", "Boris", "Vera"]
    assert listing.find_visible_contact(operator, people["Dina"].pk) is None
    assert listing.find_visible_contact(operator, people["Vera"].pk) == people["Vera"]


@pytest.mark.parametrize(
    "params, names",
    [
        ({"query": "ann"}, ["Anna"]),
        ({"query": "8 921 555-01-05"}, ["Boris"]),
        ({"query": "vip"}, ["Boris"]),
        ({"query": "V@example.org"}, ["Vera"]),
        ({"query": "Gleb"}, []),
        ({"tag": "vip"}, ["Boris"]),
        ({"tag": 'v"'}, []),
        ({"opt_out": "any"}, ["Anna"]),
        ({"opt_out": "all"}, []),
        ({"opt_out": "none"}, ["Vera", "Boris"]),
        ({"consent": "contract"}, ["Boris"]),
        ({"consent": "missing"}, ["Vera", "Anna"]),
    ],
)
def test_search_and_filters(
    operator: Any, people: dict[str, Contact], params: dict[str, str], names: list[str]
) -> None:
    assert find(operator, **params) == names


def test_every_contact_is_on_exactly_one_page(operator: Any, channel: ApiChannel, monkeypatch: Any) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    for number in range(20):
        ContactFactory(api_channel=channel, name=f"Name {number % 4}", tags=["vip"] if number % 5 == 0 else [])
    for sort in listing.SORTS:
        for tag, count in (("", 20), ("vip", 4)):
            seen: list[int] = []
            after = ""
            for _page in range(30):
                params = ContactParams(sort=sort, tag=tag, after=after)
                page = listing.list_contacts(ContactScope.for_user(operator), params, limit=4)
                seen += page.ids
                after = page.next_cursor
                if not after:
                    break
            assert len(seen) == len(set(seen)) == count


def test_the_page_shows_chats_opt_outs_and_no_hidden_phones(
    client: Client, operator: Any, people: dict[str, Contact], django_assert_max_num_queries: Any
) -> None:
    ChatChannel.objects.update(hides_phones=True)
    signed_in(client, operator)
    client.get(reverse("contacts"))

    with django_assert_max_num_queries(22):
        page = page_html(client, reverse("contacts"))

    assert "Anna" in page and "Boris" in page and "79215550105" not in page and "555-01-05" not in page
    assert 'class="chip critical"' in page
    assert "Boris" not in page_html(client, reverse("contacts") + "?q=5550105")


def test_an_operator_records_an_opt_out_and_a_new_consent(client: Client, operator: Any, channel: ApiChannel) -> None:
    chat = ConversationFactory(api_channel=channel)
    signed_in(client, operator)
    address = reverse("chat-consent", args=[chat.pk])
    fields = {"for_user": operator.pk, "for_chat": chat.pk}

    assert client.post(address, {**fields, "opt_out": "all"}).status_code == 422
    assert client.post(address, {**fields, "opt_out": "all", "note": "asked by phone"}).status_code == 302
    page = page_html(client, reverse("chat", args=[chat.pk]))
    assert "asked by phone" in page and "opt-out-chip" in page
    assert client.post(address, {**fields, "source": "in_person"}).status_code == 302
    row = ContactConsent.objects.get()
    assert (row.opt_out, row.source, row.recorded_by) == ("", "in_person", operator)


def test_the_filter_names_only_channels_of_the_user(client: Client, operator: Any, channel: ApiChannel) -> None:
    ApiChannelFactory(name="Other department")

    own = page_html(signed_in(client, operator), reverse("contacts"))
    everything = page_html(signed_in(client, vera()), reverse("contacts"))

    assert channel.name in own and "Other department" not in own
    assert "Other department" in everything


def test_a_channel_that_cannot_write_first_says_why_and_what_to_do(client: Client, operator: Any) -> None:
    acebot = ApiChannelFactory(kind="acebot", name="Ace")
    acebot.watched.set(operator.chat_channels.all())
    ApiChannel.objects.exclude(pk=acebot.pk).update(archived_at=timezone.now())
    ContactFactory(api_channel=acebot, name="Anna", phone="+79215550104")
    signed_in(client, operator)

    contacts, page = page_html(client, reverse("contacts")), page_html(client, reverse("chat-new"))

    for html in (contacts, page):
        assert "Acebot passes on answers only: the client must write first." in html
    assert "Give them your WhatsApp number" in page and 'id="new-chat"' not in page


def test_the_first_wrong_field_of_a_new_chat_gets_the_focus(client: Client, operator: Any, template: Any) -> None:
    signed_in(client, operator)
    focused = re.compile(r'name="(\w+)"[^>]*autofocus')
    form = {"phone": "+79215550104", "template": template.pk, "consent": "", "for_user": operator.pk, "fill": "1"}

    for wrong, field in (({"phone": "12"}, "phone"), ({"template": "0"}, "template"), ({}, "consent")):
        html = client.post(reverse("chat-new"), form | wrong).content.decode()
        assert focused.findall(html)[0] == field


def test_a_tag_finds_all_its_clients_among_those_of_other_channels(
    operator: Any, channel: ApiChannel, monkeypatch: Any
) -> None:
    monkeypatch.setattr(listing, "MAX_HITS", 5)
    ContactFactory.create_batch(3, api_channel=channel, tags=["vip"])
    ContactFactory.create_batch(20, api_channel=ApiChannelFactory(), tags=["vip"])

    assert len(find(operator, query="vip")) == 3 and len(find(vera(), query="vip")) == 23
    assert find(vera(), query="nobody") == [] == find(vera(), tag='v"\\')


def test_templates_are_not_offered_to_a_client_who_opted_out(
    client: Client, operator: Any, channel: ApiChannel, template: Any
) -> None:
    chat = ConversationFactory(api_channel=channel)
    sale = TemplateFactory(api_channel=channel, name="sale", body="Sale.", category="MARKETING")
    signed_in(client, operator)
    picker, page = reverse("chat-templates", args=[chat.pk]), reverse("chat", args=[chat.pk])
    assert sale.name in page_html(client, picker) and template.name in page_html(client, page)

    consents.set_opt_out(chat.contact_id, OptOut.MARKETING, source=OptOutSource.OPERATOR)
    some = page_html(client, picker)
    assert (
        f"/templates/{sale.pk}/" not in some
        and f"/templates/{template.pk}/" in some
        and "opted out of marketing" in some
    )
    consents.set_opt_out(chat.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR)
    for address in (picker, page):
        html = page_html(client, address)
        assert "opted out of templates" in html and f"/templates/{template.pk}/" not in html
    assert "Nothing can be sent until the client writes" in html and "Template only" not in html
    Contact.objects.filter(pk=chat.contact_id).update(phone="+79215550104", phone_key="79215550104")
    form = {
        "phone": "+79215550104",
        "template": template.pk,
        "consent": "website",
        "for_user": operator.pk,
        "fill": "1",
    }
    refused = client.post(reverse("chat-new"), form)
    assert refused.status_code == 422 and "opted out of templates" in refused.content.decode()
