"""A template's life: each change of status is an event, each wording a version, and only approved ones go out."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.models import Draft
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from templates_registry import lifecycle
from templates_registry.admin import actions
from templates_registry.admin.actions import ACTIONS
from templates_registry.content.components import Variable
from templates_registry.index_cache import recognize_template
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.matching.text_diff import content_key, diff_texts, template_text
from templates_registry.models import Registry, Status, Template
from tests.factories import ConversationFactory, TemplateFactory, boris, vera

pytestmark = pytest.mark.django_db

HAND = ChangeAuthor(source=Source.MANUAL)


def events(template: Template) -> list[tuple[str, str, str]]:
    return [(event.what, event.from_status, event.to_status) for event in template.events.order_by("pk")]


# --- events and versions ---------------------------------------------------------------------------------


def test_a_new_template_begins_with_an_event_and_a_version() -> None:
    template = TemplateFactory(status="draft")

    assert events(template) == [("status", "", "draft")]
    assert [version.number for version in template.versions.all()] == [1]


def test_a_status_changes_once_and_says_who_and_why() -> None:
    template = TemplateFactory(status="pending")
    by = ChangeAuthor(source=Source.MANUAL, user=vera())

    moved = lifecycle.change_status(template, Status.REJECTED, by=by, reason="Реклама")
    again = lifecycle.change_status(template, Status.REJECTED, by=by, reason="Реклама")

    event = template.events.first()
    assert (moved, again) == (True, False)
    assert (event.author.username, event.reason, template.reject_reason) == ("vera", "Реклама", "Реклама")

    lifecycle.change_status(template, Status.APPROVED, by=by)

    assert template.reject_reason == "" and template.approved_at is not None
    assert template.versions.get().was_approved


@pytest.mark.parametrize("status", lifecycle.REVIEWED_STATUSES)
def test_a_text_that_people_change_has_to_be_approved_again(status: str) -> None:
    template = TemplateFactory(status=status)

    lifecycle.change_text(template, replace(template.pattern, body="Ваш заказ {{1}} ждёт вас."), by=HAND)

    assert template.status == "draft"
    assert events(template)[1:] == [("text", status, status), ("status", status, "draft")]
    assert template.versions.count() == 2


def test_a_text_that_the_provider_changes_stays_approved() -> None:
    template = TemplateFactory()

    lifecycle.change_text(
        template, replace(template.pattern, body="Ваш заказ ждёт вас."), by=ChangeAuthor(source=Source.SYNC)
    )

    assert template.status == "approved"
    assert template.versions.filter(was_approved=True).count() == 2


def test_labels_and_examples_are_no_new_text() -> None:
    template = TemplateFactory()
    components = template.components
    described = (Variable("1", label="Имя клиента", example="Борис", hint="Как в чате"),)

    changed = lifecycle.change_text(template, replace(template.pattern, described=described), by=HAND)

    assert changed is False
    assert (template.status, template.versions.count()) == ("approved", 1)
    assert template.components == components
    assert template.pattern.variable("1").example == "Борис"


def test_every_change_reaches_every_processs_index() -> None:
    template = TemplateFactory(body="Ваш заказ {{1}} готов.")
    recognize_template(template.api_channel, "Ваш заказ № 5 готов.")
    before = Registry.objects.get().version

    lifecycle.change_status(template, Status.PAUSED, by=HAND)

    assert Registry.objects.get().version > before
    assert recognize_template(template.api_channel, "Ваш заказ № 5 готов.").outcome == "not_ready"


def test_a_text_that_came_back_is_not_its_own_predecessor() -> None:
    template = TemplateFactory(body="Ваш заказ {{1}} готов.", examples=["5"])
    first = template.pattern
    sync = ChangeAuthor(source=Source.SYNC)
    lifecycle.change_text(template, replace(first, body="Ваш заказ {{1}} собран."), by=sync)
    lifecycle.change_text(template, replace(first, described=(Variable("1", example="6"),)), by=sync)

    assert recognize_template(template.api_channel, "Ваш заказ № 5 готов.").outcome == "template"
    assert recognize_template(template.api_channel, "Ваш заказ № 5 собран.").retired


# --- differences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "pieces"),
    [
        ("заказ готов", "заказ готов", [("same", "заказ готов")]),
        ("заказ собран.", "заказ готов.", [("same", "заказ "), ("gone", "собран"), ("new", "готов"), ("same", ".")]),
        ("", "новый", [("new", "новый")]),
        ("раз два три", "раз пять шесть", [("same", "раз "), ("gone", "два три"), ("new", "пять шесть")]),
    ],
)
def test_a_difference_is_told_word_by_word(old: str, new: str, pieces: list[tuple[str, str]]) -> None:
    assert [(piece.kind, piece.text) for piece in diff_texts(old, new)] == pieces


def test_a_long_difference_takes_no_long_time() -> None:
    pieces = diff_texts("а " * 50_000, "б " * 50_000)

    assert [piece.kind for piece in pieces] == ["gone", "new"]


def test_examples_are_no_part_of_the_wording_and_buttons_are() -> None:
    one = TemplateFactory(examples=["Анна", "5"]).pattern
    other = TemplateFactory(examples=["Борис", "6"]).pattern
    with_button = TemplateFactory(buttons=[{"type": "QUICK_REPLY", "text": "Да"}]).pattern

    assert content_key(one) == content_key(other) != content_key(with_button)
    assert "[Да]" in template_text(with_button)


# --- by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "slug", "becomes"),
    [
        ("draft", "submit", "pending"),
        ("pending", "approve", "approved"),
        ("pending", "reject", "rejected"),
        ("rejected", "submit", "pending"),
        ("approved", "pause", "paused"),
        ("paused", "resume", "approved"),
        ("approved", "archive", "archived"),
        ("approved", "delete", "deleted"),
    ],
)
def test_an_action_moves_a_template(status: str, slug: str, becomes: str) -> None:
    template = TemplateFactory(status=status)

    result = actions.perform_action(ACTIONS[slug], [template], user=vera(), reason="Потому")

    template.refresh_from_db()
    assert (template.status, len(result.changed)) == (becomes, 1)
    assert template.events.first().author.username == "vera"


@pytest.mark.parametrize("status", ["approved", "paused", "draft"])
def test_what_was_archived_comes_back_as_what_it_was(status: str) -> None:
    template = TemplateFactory(status=status)
    actions.perform_action(ACTIONS["archive"], [template], user=None)

    actions.perform_action(ACTIONS["restore"], [template], user=None)

    template.refresh_from_db()
    assert template.status == status


def test_one_disallowed_template_does_not_block_the_others() -> None:
    sensible, senseless = TemplateFactory(status="pending"), TemplateFactory(status="deleted")

    result = actions.perform_action(ACTIONS["approve"], [senseless, sensible], user=None)

    assert (result.changed, [template for template, _why in result.refused]) == ([sensible], [senseless])


def test_what_cannot_be_right_is_not_sent_for_approval() -> None:
    template = TemplateFactory(status="draft", body="Раз {{1}} и сразу три {{3}}, вот так.")

    result = actions.perform_action(ACTIONS["submit"], [template], user=None)

    assert "{{2}}" in result.refused[0][1]
    template.refresh_from_db()
    assert template.status == "draft"


# --- what waits to be sent -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in Status if status != Status.APPROVED])
def test_what_waits_to_be_sent_with_a_template_that_is_no_longer_approved_stops_and_says_why(status: str) -> None:
    conversation = ConversationFactory()
    template = TemplateFactory(api_channel=conversation.api_channel)
    operator = boris(conversation.chat_channel)
    handed = reply_submission.submit_template_reply(
        conversation_id=conversation.pk, template_id=template.pk, parameters=["Анна", "№ 42"], author=operator
    )
    assert handed.message is not None

    lifecycle.change_status(template, status, by=HAND)
    dispatcher.send_due_deliveries()

    message: Any = handed.message
    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "template_not_sendable")
    notice = conversation.messages.filter(kind="notice").get()
    assert template.name in notice.sentence
    assert Draft.objects.get(user=operator).text == message.text
