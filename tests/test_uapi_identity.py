"""Whom a call of the public API addresses: its IDs, our IDs and phone numbers are never confused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from bridge.inbox import processing
from bridge.models import Contact, Conversation, Message
from bridge.uapi.identity import are_names_compatible
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.factories import ApiChannelFactory, ChatChannelFactory
from tests.uapi_calls import call_with_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
KINDS = ("acebot", "whatsapp_cloud", "sandbox")
ANNA, BORIS = "79215550104", "79215550105"


class Caller:
    """A program with one key."""

    def __init__(self, client: Client, channel: ApiChannel) -> None:
        self.client, self.channel = client, channel
        self.chat_channel: ChatChannel = channel.watched.get()
        self.key = channel.issue_secret().reveal()

    def __call__(self, method: str, **values: Any) -> Any:
        return call_with_key(self.client, method, self.key, **values)

    def says(self, text: str = "?", *, chat_id: int | None = None, **sender: Any) -> dict[str, Any]:
        """Add a message. Return the whole response, including errors."""
        more = {"chat_id": chat_id} if chat_id else {}
        body = {"channel_id": self.chat_channel.pk, "message": {"text": text, "from": sender}, **more}
        answer: dict[str, Any] = self("chat/addMessage", **body)
        return answer

    def client_of(self, **sender: Any) -> int:
        return int(self.says(**sender)["client_id"])


@pytest.fixture(params=KINDS)
def program(request: Any, client: Client) -> Caller:
    channel = ApiChannelFactory(
        kind=request.param, redirect_url="http://127.0.0.1:9/hook", watched=ChatChannelFactory(), secret=True
    )
    return Caller(client, channel)


# --- one number, one client ------------------------------------------------------------------------------

SAME_NUMBER = [
    {"client_id": ANNA},
    {"client_id": int(ANNA)},
    {"client_id": f"+{ANNA}"},
    {"client_id": "", "phone": ANNA},
    {"phone": f"+{ANNA}"},
    {"phone": "8 921 555-01-04"},
    {"phone": "+7 (921) 555-01-04"},
    {"client_id": ANNA, "phone": f"+{ANNA}"},
    {"client_id": f"+{ANNA}", "phone": ANNA},
]


@pytest.mark.parametrize("first", SAME_NUMBER, ids=str)
def test_one_number_is_one_client_in_any_spelling(program: Caller, first: dict[str, Any]) -> None:
    known = program.client_of(**first)

    assert {program.client_of(**sender) for sender in SAME_NUMBER} == {known}
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize(("one", "other"), [("553188887777", "5531988887777"), ("5215512345678", "525512345678")])
def test_national_variants_are_one_client(program: Caller, one: str, other: str) -> None:
    known = program.client_of(phone=one)

    assert program.client_of(phone=f"+{other}") == program.client_of(client_id=other) == known
    assert program("create/client", name="", phone=other)["client_id"] == known
    assert [row["id"] for row in program("clients", query=other)] == [known]
    ticket = program("create/ticket", message="?", client_phone=other)["ticket_id"]
    assert program("ticket", ticket_id=ticket)["ticket"]["client_id"] == known


def test_a_number_that_writes_by_whatsapp_joins_the_programs_client(client: Client) -> None:
    program = Caller(client, ApiChannelFactory(kind="whatsapp_cloud", secret=True))
    made = program("create/client", name="Ольга", phone="553188887777")["client_id"]

    contact = ContactInfo(external_id="5531988887777", phone="+5531988887777", name="🌸")
    processing.apply_facts(program.channel, [MessageReceived(contact=contact, text="Oi", external_id="wamid.1")])

    assert Message.objects.get().conversation.contact_id == made
    assert Contact.objects.get().name == "Ольга"


# --- IDs of two systems --------------------------------------------------------------------------------------

ANNAS = {
    "with an id of the caller's": {"client_id": "crm-anna", "name": "Анна"},
    "with a number as her id": {"client_id": ANNA, "name": "Анна"},
    "with id and phone": {"client_id": "crm-anna", "phone": ANNA, "name": "Анна"},
    "with a phone": {"phone": ANNA, "name": "Анна"},
    "with an email": {"email": "anna@shop.example", "name": "Анна"},
    "with a name": {"name": "Анна"},
}
BORISES = {
    "name": {"name": "Борис"},
    "name and phone": {"name": "Борис", "phone": BORIS},
    "phone": {"phone": BORIS},
    "email": {"email": "boris@shop.example", "name": "Борис"},
}


@pytest.mark.parametrize("anna", ANNAS)
@pytest.mark.parametrize("boris", BORISES)
def test_a_callers_id_equal_to_our_id_is_another_client(program: Caller, anna: str, boris: str) -> None:
    annas = program.client_of(**ANNAS[anna])

    boriss = program.client_of(client_id=annas, **BORISES[boris])
    again = program.client_of(client_id=annas, **BORISES[boris])

    assert boriss == again != annas
    contact = Contact.objects.get(pk=annas)
    assert (contact.name, Conversation.objects.count()) == ("Анна", 2)
    assert Message.objects.filter(conversation__contact=contact).count() == 1


@pytest.mark.parametrize("boris", BORISES)
def test_a_callers_id_equal_to_a_created_clients_id_is_another_client(program: Caller, boris: str) -> None:
    annas = program("create/client", name="Анна", phone=ANNA, emails=["anna@shop.example"])["client_id"]

    assert program.client_of(client_id=annas, **BORISES[boris]) != annas


def test_digits_in_another_spelling_than_our_id_are_the_callers_own(program: Caller) -> None:
    made = program("create/client", name="Анна")["client_id"]

    for client_id in (f"00{made}", f"{made:019}5"):
        assert program.client_of(client_id=client_id, name="") != made
    assert program.client_of(client_id=made, name="") == made


def test_our_id_without_name_or_phone_does_not_take_over_a_whatsapp_client(
    client: Client,
) -> None:
    program = Caller(client, ApiChannelFactory(kind="whatsapp_cloud", secret=True))
    contact = ContactInfo(external_id=ANNA, phone=f"+{ANNA}", name="Анна")
    processing.apply_facts(program.channel, [MessageReceived(contact=contact, text="?", external_id="wamid.1")])
    annas = Contact.objects.get().pk

    assert program.client_of(client_id=annas) != annas


def test_a_callers_id_is_never_a_whatsapp_number(client: Client) -> None:
    """A program's client 42 is not reachable at +42."""
    program = Caller(client, ApiChannelFactory(kind="whatsapp_cloud", secret=True))

    contact = Contact.objects.get(pk=program.client_of(client_id="42", name="Борис"))

    assert (contact.external_id, contact.caller_id, contact.phone) == ("", "42", "")
    assert program.client_of(client_id=42) == contact.pk


def test_another_programs_client_is_not_ours(client: Client) -> None:
    one, other = (
        Caller(client, ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", secret=True)) for _ in "12"
    )
    annas = one.client_of(client_id="7", phone=ANNA, name="Анна")

    assert other.client_of(client_id="7", phone=ANNA, name="Анна") != annas
    assert other.client_of(client_id=annas, phone=ANNA) != annas
    assert other.says(okno_client_id=annas)["code"] == 404
    for method in ("client", "update/client", "create/ticket"):
        assert other(method, client_id=annas, message="?", name="x")["code"] == 404


# --- when our ID counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("anna", ANNAS)
def test_our_id_counts_where_it_is_named_as_ours(program: Caller, anna: str) -> None:
    annas = program.client_of(**ANNAS[anna])
    program.client_of(client_id=annas, name="Борис")  # another client whose own ID has these digits

    assert program.client_of(okno_client_id=annas) == annas
    assert program.client_of(okno_client_id=str(annas), name="Анна Петрова") == annas


@pytest.mark.parametrize("anna", ["with id and phone", "with a phone", "with a number as her id"])
def test_our_id_counts_with_the_clients_phone(program: Caller, anna: str) -> None:
    annas = program.client_of(**ANNAS[anna])
    program.client_of(client_id=annas, name="Борис")

    assert program.client_of(client_id=annas, phone="8 921 555-01-04", name="Аня") == annas


def test_our_id_counts_with_the_clients_email(program: Caller) -> None:
    annas = program.client_of(email="anna@shop.example", client_id="crm-anna")

    assert program.client_of(client_id=annas, email="Anna@Shop.example") == annas


def test_the_id_returned_by_create_client_counts(program: Caller) -> None:
    made = program("create/client", name="Анна")["client_id"]

    response = program.says(client_id=made)
    assert response["client_id"] == made
    assert program.client_of(client_id=str(made), name="Анна Петрова") == made
    assert program.client_of(client_id=made, phone=ANNA) != made  # a phone that the client's card does not have


def test_our_id_counts_if_the_caller_has_no_other(program: Caller) -> None:
    annas = program.client_of(name="Анна")

    assert program.client_of(client_id=annas) == program.client_of(client_id=annas, name="Анна") == annas
    known = program.says(okno_client_id=annas, client_id="crm-anna")["client_id"]
    assert program.client_of(client_id="crm-anna") == known == annas
    assert program.client_of(client_id=annas) != annas  # the caller has its own IDs now


def test_a_chat_id_decides(program: Caller) -> None:
    response = program.says(client_id="crm-anna", name="Анна")

    again = program.says(chat_id=response["chat_id"], client_id="crm-boris")

    assert (again["chat_id"], again["client_id"]) == (response["chat_id"], response["client_id"])


def test_two_ids_of_two_clients_are_refused(program: Caller) -> None:
    annas = program.client_of(client_id="crm-anna")
    program.client_of(client_id="crm-boris")

    refused = program.says(okno_client_id=annas, client_id="crm-boris")

    assert refused["code"] == 400 and "okno_client_id" in refused["error"]
    assert program.says(okno_client_id=10**9)["code"] == 404
    assert program.says(okno_client_id="x")["code"] == 400


def test_our_id_is_accepted_where_it_is_documented(program: Caller) -> None:
    annas = program.client_of(client_id="crm-anna", name="Анна")

    assert program("client", client_id=annas)["client"]["id"] == annas
    assert program("update/client", client_id=annas, name="Анна П.")["client_id"] == annas
    ticket = program("create/ticket", client_id=annas, message="?")["ticket_id"]
    assert program("ticket", ticket_id=ticket)["ticket"]["client_id"] == annas


# --- cards -----------------------------------------------------------------------------------------------


def test_a_name_set_by_staff_stays(program: Caller) -> None:
    annas = program.client_of(client_id="crm-anna", name="🌸Lёlik🌸")
    program("update/client", client_id=annas, name="Ольга Петрова, ООО «Ромашка»")

    program.says(client_id="crm-anna", name="🌸Lёlik🌸")
    program.says(client_id="crm-anna", name=ANNA)

    assert program("client", client_id=annas)["client"]["name"] == "Ольга Петрова, ООО «Ромашка»"


def test_create_client_never_duplicates_a_number_and_never_joins_a_family(program: Caller) -> None:
    anna = program("create/client", name="Анна", phone=ANNA)["client_id"]

    assert program("create/client", name="Анна", phone=ANNA)["client_id"] == anna
    assert program("create/client", name="Борис", phone=ANNA)["client_id"] != anna


def test_an_id_in_another_messenger_is_no_address(program: Caller) -> None:
    telegram = [{"type": "telegram", "uid": BORIS}]

    made = program("create/client", name="Анна", messengers=telegram)["client_id"]

    assert Contact.objects.get(pk=made).external_id == ""
    assert program.client_of(client_id=BORIS, name="Борис") != made


def test_a_messenger_of_another_client_is_refused(program: Caller) -> None:
    anna, boris = (
        program("create/client", name=name, messengers=[{"type": "whatsapp", "identity": number}])["client_id"]
        for name, number in (("Анна", ANNA), ("Борис", BORIS))
    )
    plain = program("create/client", name="Вера")["client_id"]

    for client_id in (anna, plain):
        answer = program("update/client", client_id=client_id, messengers=[{"type": "whatsapp", "identity": BORIS}])
        assert answer["code"] == 400
    answer = program("update/client", client_id=boris, messengers=[{"type": "whatsapp", "identity": f"+{BORIS}"}])
    assert answer == {"client_id": boris, "status": True}


def test_phones_look_the_same_in_cards_and_lists(program: Caller) -> None:
    annas = program.client_of(client_id="crm-anna", phone="+7 921 555-01-04")

    assert [row["phone"] for row in program("clients", query="8 921 555 01 04")] == [ANNA]
    assert program("client", client_id=annas)["client"]["phones"] == [{"phone": ANNA, "type": "mobile"}]


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("Анна", "анна петрова", True),
        ("", "Борис", True),
        ("Анна", "\u3164", True),
        ("Анна", "Борис", False),
        ("Анна Петрова", "Анна Смирнова", False),
    ],
)
def test_names_of_one_person_agree(one: str, other: str, agree: bool) -> None:
    assert are_names_compatible(one, other) is are_names_compatible(other, one) is agree


# --- concurrency ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["acebot", "whatsapp_cloud"])
def test_two_concurrent_spellings_make_one_client(client: Client, kind: str) -> None:
    program = Caller(client, ApiChannelFactory(kind=kind, redirect_url="http://127.0.0.1:9/", secret=True))
    spellings = ["553188887777", "5531988887777", "+55 31 98888-7777", "+553188887777"]

    def say(phone: str) -> int:
        try:
            return Caller.client_of(program, phone=phone)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(say, spellings * 2))

    assert len(set(found)) == Contact.objects.count() == 1
