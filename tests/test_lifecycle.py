"""Lifecycle of templates: events, versions, differences, admin actions, and messages of unapproved templates."""

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
    return [(event.kind, event.from_status, event.to_status) for event in template.events.order_by("pk")]


# --- events and versions ---------------------------------------------------------------------------------


def test_a_new_template_has_an_event_and_a_version() -> None:
    template = TemplateFactory(status="draft")

    assert events(template) == [("status", "", "draft")]
    assert [version.number for version in template.versions.all()] == [1]


def test_a_change_of_status_is_recorded_once_with_author_and_reason() -> None:
    template = TemplateFactory(status="pending")
    by = ChangeAuthor(source=Source.MANUAL, user=vera())

    changed = lifecycle.change_status(template, Status.REJECTED, by=by, reason="Реклама")
    again = lifecycle.change_status(template, Status.REJECTED, by=by, reason="Реклама")

    event = template.events.first()
    assert (changed, again) == (True, False)
    assert (event.author.username, event.reason, template.reject_reason) == ("vera", "Реклама", "Реклама")

    lifecycle.change_status(template, Status.APPROVED, by=by)

    assert template.reject_reason == "" and template.approved_at is not None
    assert template.versions.get().was_approved


@pytest.mark.parametrize("status", lifecycle.REVIEWED_STATUSES)
def test_a_manually_changed_text_has_to_be_approved_again(status: str) -> None:
    template = TemplateFactory(status=status)

    lifecycle.change_text(template, replace(template.definition, body="Ваш заказ {{1}} ждёт вас."), by=HAND)

    assert template.status == "draft"
    assert events(template)[1:] == [("text", status, status), ("status", status, "draft")]
    assert template.versions.count() == 2


def test_a_text_changed_by_the_provider_stays_approved() -> None:
    template = TemplateFactory()

    lifecycle.change_text(
        template, replace(template.definition, body="Ваш заказ ждёт вас."), by=ChangeAuthor(source=Source.SYNC)
    )

    assert template.status == "approved"
    assert template.versions.filter(was_approved=True).count() == 2


def test_changed_labels_and_examples_are_not_a_new_text() -> None:
    template = TemplateFactory()
    components = template.components
    described = (Variable("1", label="Имя клиента", example="Борис", hint="Как в чате"),)

    changed = lifecycle.change_text(template, replace(template.definition, described=described), by=HAND)

    assert changed is False
    assert (template.status, template.versions.count()) == ("approved", 1)
    assert template.components == components
    assert template.definition.variable("1").example == "Борис"


def test_every_change_updates_the_index_of_each_process() -> None:
    template = TemplateFactory(body="Ваш заказ {{1}} готов.")
    recognize_template(template.api_channel, "Ваш заказ № 5 готов.")
    before = Registry.objects.get().version

    lifecycle.change_status(template, Status.PAUSED, by=HAND)

    assert Registry.objects.get().version > before
    assert recognize_template(template.api_channel, "Ваш заказ № 5 готов.").outcome == "not_ready"


def test_a_restored_text_is_not_recognized_as_its_previous_one() -> None:
    template = TemplateFactory(body="Ваш заказ {{1}} готов.", examples=["5"])
    first = template.definition
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
        (
            "заказ собран.",
            "заказ готов.",
            [("same", "заказ "), ("removed", "собран"), ("added", "готов"), ("same", ".")],
        ),
        ("", "новый", [("added", "новый")]),
        ("раз два три", "раз пять шесть", [("same", "раз "), ("removed", "два три"), ("added", "пять шесть")]),
    ],
)
def test_a_difference_is_shown_word_by_word(old: str, new: str, pieces: list[tuple[str, str]]) -> None:
    assert [(piece.kind, piece.text) for piece in diff_texts(old, new)] == pieces


def test_a_long_difference_is_computed_in_bounded_time() -> None:
    pieces = diff_texts("а " * 50_000, "б " * 50_000)

    assert [piece.kind for piece in pieces] == ["removed", "added"]


def test_buttons_are_part_of_the_wording_and_examples_are_not() -> None:
    first = TemplateFactory(examples=["Анна", "5"]).definition
    second = TemplateFactory(examples=["Борис", "6"]).definition
    with_button = TemplateFactory(buttons=[{"type": "QUICK_REPLY", "text": "Да"}]).definition

    assert content_key(first) == content_key(second) != content_key(with_button)
    assert "[Да]" in template_text(with_button)


# --- admin actions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "slug", "new_status"),
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
def test_an_action_sets_the_status_of_a_template(status: str, slug: str, new_status: str) -> None:
    template = TemplateFactory(status=status)

    result = actions.perform_action(ACTIONS[slug], [template], user=vera(), reason="Потому")

    template.refresh_from_db()
    assert (template.status, len(result.changed)) == (new_status, 1)
    assert template.events.first().author.username == "vera"


@pytest.mark.parametrize("status", ["approved", "paused", "draft"])
def test_a_restored_template_has_its_previous_status(status: str) -> None:
    template = TemplateFactory(status=status)
    actions.perform_action(ACTIONS["archive"], [template], user=None)

    actions.perform_action(ACTIONS["restore"], [template], user=None)

    template.refresh_from_db()
    assert template.status == status


def test_one_disallowed_template_does_not_block_the_others() -> None:
    pending, deleted = TemplateFactory(status="pending"), TemplateFactory(status="deleted")

    result = actions.perform_action(ACTIONS["approve"], [deleted, pending], user=None)

    assert (result.changed, [template for template, _reason in result.refused]) == ([pending], [deleted])


def test_an_invalid_template_is_not_sent_for_approval() -> None:
    template = TemplateFactory(status="draft", body="Раз {{1}} и сразу три {{3}}, вот так.")

    result = actions.perform_action(ACTIONS["submit"], [template], user=None)

    assert "{{2}}" in result.refused[0][1]
    template.refresh_from_db()
    assert template.status == "draft"


# --- pending messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in Status if status != Status.APPROVED])
def test_pending_messages_of_a_paused_template_fail_with_the_reason(status: str) -> None:
    conversation = ConversationFactory()
    template = TemplateFactory(api_channel=conversation.api_channel)
    operator = boris(conversation.chat_channel)
    submitted = reply_submission.submit_template_reply(
        conversation_id=conversation.pk, template_id=template.pk, parameters=["Анна", "№ 42"], author=operator
    )
    assert submitted.message is not None

    lifecycle.change_status(template, status, by=HAND)
    dispatcher.send_due_deliveries()

    message: Any = submitted.message
    message.refresh_from_db()
    assert (message.status, message.reason) == ("failed", "template_not_sendable")
    notice = conversation.messages.filter(kind="notice").get()
    assert template.name in notice.sentence
    assert Draft.objects.get(user=operator).text == message.text
