"""Phone keys (one per number, never shared by two numbers), and visible names."""

import pytest

from channels_setup.codecs.phone_numbers import format_wire_phone, id_key, is_phone_number, phone_key, search_keys
from channels_setup.codecs.visible_names import is_proper_name, is_visible, visible_name

RUSSIA, BRAZIL, MEXICO, ARGENTINA = "79215550104", "5531988887777", "525512345678", "541123456789"
SPELLINGS = {
    RUSSIA: ["+7 921 555-01-04", "79215550104", "8 (921) 555-01-04", "89215550104", "+89215550104", "0079215550104"],
    BRAZIL: ["5531988887777", "553188887777", "+55 (31) 98888-7777", "+55 31 8888 7777", "55 031 98888 7777"],
    MEXICO: ["525512345678", "5215512345678", "+52 1 55 1234 5678", "+52 55 1234 5678"],
    ARGENTINA: ["5491123456789", "541123456789", "+54 9 11 2345-6789", "+54 11 15 2345-6789"],
    "543513456789": ["5493513456789", "543513456789", "54 351 15 345 6789"],
    "2290197123456": ["22997123456", "+229 01 97 12 34 56"],
    "77011234567": ["+7 701 123 45 67", "87011234567"],
    "?15551234567": ["15551234567", "+1 (555) 123-4567"],  # Meta's sample, not a valid number
}


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in SPELLINGS.items() for text in texts])
def test_all_spellings_of_a_number_have_one_key(key: str, text: str) -> None:
    assert phone_key(text) == key
    assert id_key(text) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("553132217777", "5531932217777"),  # a landline in Belo Horizonte, and a mobile that ends like it
        ("551141234567", "5511941234567"),  # the same in São Paulo
        ("84951234567", "74951234567"),  # Vietnam, and Moscow with an unseparated trunk prefix
        ("79215550104", "9215550104"),
        ("5215512345678", "5215512345679"),
        ("390612345678", "39612345678"),  # Italy's zero belongs to the number
        ("15551234567", "15551234568"),
    ],
)
def test_numbers_of_different_people_have_different_keys(one: str, other: str) -> None:
    assert phone_key(one) != phone_key(other)


@pytest.mark.parametrize(
    "text", ["", "client-42", "crm-79215550104", "anna@shop.example", "42", "41000001", "7921" * 9]
)
def test_an_opaque_id_has_no_phone_key(text: str) -> None:
    assert id_key(text) == ""


@pytest.mark.parametrize("text", ["", "42", "client-1", "79215550104x", "звонить после 18:00"])
def test_other_texts_have_no_phone_key(text: str) -> None:
    assert phone_key(text) == ""


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("8 921 555-01-04", RUSSIA),
        ("921 555-01-04", RUSSIA),
        ("(31) 98888-7777", BRAZIL),
        ("31 8888-7777", BRAZIL),
        ("55 1234 5678", MEXICO),
        ("11 15 2345-6789", ARGENTINA),
        ("84951234567", "74951234567"),
        ("84951234567", "84951234567"),
    ],
)
def test_a_search_finds_national_forms(query: str, key: str) -> None:
    assert key in search_keys(query)


@pytest.mark.parametrize("query", ["", "Анна", "104", "заказ 123456"])
def test_words_are_not_searched_as_numbers(query: str) -> None:
    assert search_keys(query) == []


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("+7 921 555-01-04", "79215550104"),
        ("8 921 555-01-04", "79215550104"),
        ("+553188887777", "553188887777"),  # as the provider knows it: digits only, not folded
        ("+1 555 123-4567", "15551234567"),
        ("client-42", "client-42"),
        ("", ""),
    ],
)
def test_the_public_api_shows_digits(phone: str, shown: str) -> None:
    assert format_wire_phone(phone) == shown


@pytest.mark.parametrize("name", ["", " ", "\u3164", "\u2800\u2800", "\u200b\u200d", "\u0301\u0308", "\n\t", "\xa0"])
def test_an_invisible_name_is_empty(name: str) -> None:
    assert not is_visible(name)
    assert visible_name(name) == ""
    assert not is_proper_name(name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Анна\nПетрова", "Анна Петрова"),
        ("Анна\r\n\tПетрова\u2028", "Анна Петрова"),
        ("\u202eанна", "анна"),
        ("🌸Lёlik🌸", "🌸Lёlik🌸"),
        ("நிலா", "நிலா"),
        ("☺️", "☺️"),
        (".", "."),
    ],
)
def test_a_name_is_shown_on_one_line(name: str, shown: str) -> None:
    assert visible_name(name) == shown
    assert is_proper_name(shown)


def test_a_number_is_not_a_proper_name() -> None:
    assert is_phone_number("+7 921 555-01-04")
    assert not is_proper_name("79215550104")
    assert is_proper_name("Анна 2")
