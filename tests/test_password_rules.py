"""Commonly guessed passwords are refused wherever one is set."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from config.accounts.models import User

GUESSED = (
    "12345678901",
    "+7 (903) 123-45-67",
    "01.02.1990-2026",
    "１２３４５６７８９",
    "٠١٢٣٤٥٦٧٨٩",
    "!!!!????....",
    "verakverak",
    "VeraKverak",
    "aaaaaaaaaaaa",
    "abcabcabcab",
    "oknooknookno",
    "ключключ1",
    "ababababab!",
)


@pytest.mark.parametrize("password", GUESSED)
def test_a_weak_password_is_refused_with_an_explanation(password: str) -> None:
    with pytest.raises(ValidationError) as refused:
        validate_password(password, User(username="boris"))

    assert all(sentence.endswith((".", "!")) for sentence in refused.value.messages)


@pytest.mark.parametrize(
    "password", ["korabl-i-more-7", "a-long-Word-17", "correct horse battery", "банкабанкрот", "x9" * 4 + "Qw7z"]
)
def test_a_strong_password_is_accepted(password: str) -> None:
    validate_password(password, User(username="boris"))
