"""Sentences of reasons never have a blank in place of a value, and notices carry their values."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from django.utils import translation

from bridge import outcomes
from bridge.models import Message
from bridge.notices import create_notice
from bridge.outbox import settling
from bridge.outcomes import CATALOG, PLACEHOLDER, OutcomeClass
from tests.factories import ConversationFactory, MessageFactory

BLANK = re.compile(r"\(\s*\)|“\s*”|«\s*»|:\s*[.:;]|:\s*$|→\s*\.|:\s*→|\s\.|  |%\(|None")
VALUES = {
    **{"why": "Because.", "name": "order_ready", "text": "Готово", "before": "+1", "after": "+2"},
    **{"code": "131999", "title": "(#131999) Something went wrong", "provider_error": "x"},
}


def subsets(names: list[str]) -> list[dict[str, Any]]:
    chosen = itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))
    return [{name: VALUES.get(name, "?") for name in each} for each in chosen]


@pytest.mark.parametrize("code", CATALOG)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_sentence_has_a_blank_for_any_known_values(code: str, language: str) -> None:
    names = PLACEHOLDER.findall(f"{CATALOG[code].sentence}{CATALOG[code].admin_sentence or ''}")
    known = ["code", "title"] if "provider_error" in names else names
    for details, for_admin in itertools.product([None, *subsets(known)], [True, False]):
        with translation.override(language):
            sentence = outcomes.render_sentence(code, details, for_admin=for_admin)
            blank = outcomes.render_sentence(code, dict.fromkeys(details or (), " "), for_admin=for_admin)
        assert sentence and not BLANK.search(sentence), sentence
        assert blank and not BLANK.search(blank), blank


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"code": "400", "title": "This version is not supported."}, "This version is not supported. (400)"),
        ({"code": "131999", "title": "(#131999) Something"}, "Something (131999)"),
        ({"code": "131999"}, "131999"),
        ({"title": "Something"}, "Something"),
        ({"code": "1", "details": "Only details"}, "Only details (1)"),
    ],
)
def test_a_failure_with_an_unknown_code_uses_the_providers_text(details: dict[str, str], expected: str) -> None:
    with translation.override("en"):
        assert (
            outcomes.render_sentence("provider_failed", details)
            == f"WhatsApp could not deliver the message: {expected}"
        )
        assert (
            outcomes.render_sentence("a_code_of_tomorrow", details)
            == f"WhatsApp could not deliver the message: {expected}"
        )
        assert outcomes.render_sentence("a_code_of_tomorrow") == "a_code_of_tomorrow"


@pytest.mark.django_db
def test_every_failures_notice_has_the_messages_sentence() -> None:
    conversation = ConversationFactory()
    details = {"code": "131999", "title": "Something went wrong", "details": "More"}
    for code, reason in CATALOG.items():
        if reason.outcome_class is OutcomeClass.NOTICE:
            continue
        message = MessageFactory(conversation=conversation, direction="outbound", status="pending")
        settling._fail_message(message, code, details)
        notice = Message.objects.filter(reason="not_delivered").latest("pk")
        message.refresh_from_db()
        with translation.override("en"):
            why = outcomes.render_sentence(code, message.reason_values)
            assert notice.sentence == f"A message was not delivered. {why}"
            assert not BLANK.search(notice.sentence), notice.sentence
            assert "Something went wrong" in message.sentence


@pytest.mark.django_db
@pytest.mark.parametrize(
    "code", [code for code, reason in CATALOG.items() if reason.outcome_class is OutcomeClass.NOTICE]
)
def test_every_notice_without_values_is_a_complete_sentence(code: str) -> None:
    made = create_notice(ConversationFactory(), code)

    with translation.override("en"):
        assert made.sentence and not BLANK.search(made.sentence)
