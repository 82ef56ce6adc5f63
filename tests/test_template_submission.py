"""Templates handed in at the provider, changed and deleted there: from the admin's page, over a simulator of Meta."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from bridge.inbox import processing
from channels_setup import http_client
from channels_setup.models import ApiChannel
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template, TemplateEvent
from templates_registry.provider import provider_sync
from tests.cloud_accounts import cloud_channel
from tests.factories import ApiChannelFactory, TemplateFactory, vera
from tests.simulators.meta import MetaSimulator
from tests.simulators.templates import Template as Theirs

pytestmark = pytest.mark.django_db(transaction=True)
SECRETS = {
    "app_secret": "app-secret-of-the-simulator",
    "access_token": "EAAsimulator",
    "verify_token": "verify-token-of-the-simulator",
}
NEW_BODY = "Добрый день, {{1}}! Ваш заказ {{2}} ждёт вас."


@pytest.fixture
def meta() -> Iterator[MetaSimulator]:
    with MetaSimulator(own_media_host=False) as simulator:
        yield simulator


@pytest.fixture
def channel(meta: MetaSimulator, live_server: LiveServer) -> ApiChannel:
    made = cloud_channel(settings={"base_url": meta.url} | SECRETS, name="Магазин")
    assert meta.connect(f"{live_server.url}{made.webhook_path}")
    return made


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(vera())
    client.cookies["django_language"] = "en"
    return client


def draft(channel: ApiChannel, **more: Any) -> Template:
    made: Template = TemplateFactory(**{"api_channel": channel, "status": Status.DRAFT, "name": "order_ready"} | more)
    return made


def press(admin: Client, slug: str, *templates: Template) -> str:
    """The button, sure of it; what is said then."""
    url = reverse("admin:templates_registry_template_action", args=[slug])
    page = admin.post(url, {"template": [one.pk for one in templates], "confirmed": "yes"}, follow=True)
    for one in templates:
        one.refresh_from_db()
        one.__dict__.pop("pattern", None)
    return " ".join(str(message) for message in page.context["messages"])


def buttons(admin: Client, template: Template) -> list[str]:
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk])).content.decode()
    return re.findall(r"/action/([a-z-]+)/", page)


def news(meta: MetaSimulator, *templates: Template) -> None:
    meta.quiet()
    processing.process_inbox()
    for one in templates:
        one.refresh_from_db()


def calls(meta: MetaSimulator, method: str = "POST") -> list[str]:
    return [f"{called.path}" for called in meta.api_calls if called.method == method]


def theirs_of(meta: MetaSimulator, template: Template) -> Theirs:
    return meta.templates.rows[template.external_id]


def approved(meta: MetaSimulator, channel: ApiChannel, **more: Any) -> Template:
    """One that they have and have approved."""
    meta.add_template("order_ready", **more)
    assert provider_sync.sync_channel(channel).new == 1
    return Template.objects.get()


def reword(template: Template, body: str = NEW_BODY) -> None:
    lifecycle.change_text(template, replace(template.pattern, body=body), by=ChangeAuthor(source=Source.MANUAL))


# --- handed in -------------------------------------------------------------------------------------------


def test_a_draft_is_handed_in_with_all_its_parts_and_their_verdict_comes_by_itself(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(
        channel,
        header={"format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["№ 42"]}},
        footer="Ежедневно с 9 до 21",
        buttons=[
            {"type": "QUICK_REPLY", "text": "Отложить"},
            {"type": "URL", "text": "Где это", "url": "https://shop.ru/{{1}}", "example": ["42"]},
            {"type": "PHONE_NUMBER", "text": "Позвонить", "phone_number": "+78005553535"},
            {"type": "COPY_CODE", "text": "Скопировать", "example": "SAPOGI"},
        ],
    )
    said = press(admin, "submit", template)
    waiting = (template.status, template.provider_status)
    news(meta, template)

    [handed] = [called.json for called in meta.api_calls if called.path.endswith("/message_templates")]
    assert handed == {
        "name": "order_ready",
        "language": "ru",
        "category": "UTILITY",
        "parameter_format": "POSITIONAL",
        "components": [
            {"type": "HEADER", "format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["№ 42"]}},
            {
                "type": "BODY",
                "text": "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
                "example": {"body_text": [["Анна", "№ 42"]]},
            },
            {"type": "FOOTER", "text": "Ежедневно с 9 до 21"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {"type": "QUICK_REPLY", "text": "Отложить"},
                    {"type": "URL", "text": "Где это", "url": "https://shop.ru/{{1}}", "example": ["42"]},
                    {"type": "PHONE_NUMBER", "text": "Позвонить", "phone_number": "+78005553535"},
                    {"type": "COPY_CODE", "example": "SAPOGI"},
                ],
            },
        ],
    }
    assert waiting == (Status.PENDING, Status.PENDING) and "will appear automatically" in said
    assert template.external_id in meta.templates.rows
    assert (template.status, template.provider_status) == (Status.APPROVED, Status.APPROVED)


def test_named_variables_go_with_named_examples(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = draft(channel, body="Здравствуйте, {{client}}, ждём вас!", parameter_format="NAMED", examples=())
    Template.objects.update(variables=[{"key": "client", "example": "Анна"}])
    press(admin, "submit", template)

    body = theirs_of(meta, template).component("BODY")
    assert body["example"] == {"body_text_named_params": [{"param_name": "client", "example": "Анна"}]}


def test_a_picture_in_the_header_is_fetched_from_its_link_and_given_as_a_sample(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    picture = meta.media.keep(b"\xff\xd8\xff boots", mime="image/jpeg", now=meta.now())
    link = meta.media.address(picture, host=meta.url, now=meta.now())
    meta.auth_header, header = "X-Nobody", meta.auth_header  # the sample's host asks for no key …
    meta.access_token, token = "", meta.access_token
    template = draft(channel, header={"format": "IMAGE"})
    Template.objects.update(variables=[*template.variables, {"key": "header.media", "example": link}])
    real = http_client.send

    def with_key(request: Any, **more: Any) -> Any:  # … the API does
        if "/whatsapp_business/" not in request.url:
            meta.auth_header, meta.access_token = header, token
        return real(request, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "send", with_key)
        said = press(admin, "submit", template)

    assert template.status == Status.PENDING, said
    [handle] = theirs_of(meta, template).component("HEADER")["example"]["header_handle"]
    assert meta.media.samples[handle] == b"\xff\xd8\xff boots"


def test_a_sample_that_cannot_be_fetched_stops_it_before_anything_is_handed_in(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(channel, header={"format": "IMAGE"})
    without = press(admin, "submit", template)
    Template.objects.update(variables=[*template.variables, {"key": "header.media", "example": f"{meta.url}/nothing"}])
    gone = press(admin, "submit", template)

    assert "a link to a sample" in without and "could not be downloaded" in gone
    assert template.status == Status.DRAFT and calls(meta) == []


def test_examples_are_asked_for_before_their_reviewers_do(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(channel, examples=())
    said = press(admin, "submit", template)

    assert "example" in said and template.status == Status.DRAFT
    assert calls(meta) == []


def test_a_refusal_is_told_in_their_words_and_leaves_it_as_it_was(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    meta.add_template("order_ready")
    template = draft(channel)
    said = press(admin, "submit", template)

    assert "Content in this language already exists" in said
    assert (template.status, template.submitted_at, template.external_id) == (Status.DRAFT, None, "")
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk]))
    assert "Content in this language already exists" in page.content.decode()  # in its history
    assert not page.context["adminform"].form.fields["name"].disabled  # it may be given another name


def test_a_dead_token_is_told_and_nothing_changes(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    meta.access_token = "another"
    template = draft(channel)
    said = press(admin, "submit", template)

    assert "token" in said and template.status == Status.DRAFT


def test_another_category_than_was_asked_for_is_told_with_its_price(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = meta.templates.add

    def moved(row: Any, **more: Any) -> Theirs:
        return add(row | {"category": "MARKETING"}, **more)

    monkeypatch.setattr(meta.templates, "add", moved)
    template = draft(channel)
    said = press(admin, "submit", template)

    assert "MARKETING" in said and "price" in said
    assert template.category == "MARKETING"


def test_a_verdict_that_is_here_before_the_answer_stands(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = http_client.send

    def slow(request: Any, **more: Any) -> Any:
        assert not connection.in_atomic_block  # the call is made outside of any transaction
        answer = real(request, **more)
        meta.quiet()
        processing.process_inbox()
        return answer

    monkeypatch.setattr(http_client, "send", slow)
    template = draft(channel)
    press(admin, "submit", template)

    assert template.status == Status.APPROVED and template.external_id in meta.templates.rows


@pytest.mark.parametrize(("how", "status"), [("cut", Status.APPROVED), ("lost", Status.DRAFT)])
def test_without_an_answer_their_list_says_what_came_of_it(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, how: str, status: str
) -> None:
    meta.behave(manage=how, times=1)
    template = draft(channel)
    said = press(admin, "submit", template)
    unsure = template.status
    again = press(admin, "submit", template)
    provider_sync.sync_channel(channel)  # a moment later nothing is concluded from its absence
    template.refresh_from_db()
    after_a_moment = template.status
    Template.objects.filter(status=Status.PENDING).update(submitted_at=timezone.now() - timedelta(hours=1))
    provider_sync.sync_channel(channel)
    template.refresh_from_db()

    assert "may or may not have been submitted" in said and unsure == Status.PENDING
    assert "not available while the template is" in again
    assert after_a_moment in (Status.PENDING, Status.APPROVED)
    assert template.status == status
    assert bool(template.external_id) == (how == "cut")


def test_a_provider_that_takes_no_templates_is_asked_nothing(admin: Client) -> None:
    template = TemplateFactory(api_channel=ApiChannelFactory(), status=Status.DRAFT)

    assert "delete-at-provider" not in buttons(admin, template) and "approve" in buttons(admin, template)
    assert "Give the text to the provider" in press(admin, "submit", template)
    assert template.status == Status.PENDING


# --- a new text ------------------------------------------------------------------------------------------


def test_a_new_text_goes_to_the_same_template_without_its_category(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    reword(template)
    template.refresh_from_db()
    before = (template.status, template.provider_status)
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk]))
    press(admin, "submit", template)
    news(meta, template)

    assert before == (Status.DRAFT, Status.APPROVED)
    assert "its former text at the provider: approved" in page.content.decode()
    [called] = [called for called in meta.api_calls if called.method == "POST"]
    assert called.path == template.external_id and set(called.json) == {"components"}
    assert theirs_of(meta, template).component("BODY")["text"] == NEW_BODY
    assert template.status == Status.APPROVED and len(meta.templates.rows) == 1
    assert template.events.filter(what=TemplateEvent.EDITED).count() == 1


def test_a_second_new_text_within_a_day_is_refused_before_they_do(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    for number in range(2):
        reword(template, f"{NEW_BODY} И снова {number}!")
        template.refresh_from_db()
        said = press(admin, "submit", template)
        news(meta, template)
    TemplateEvent.objects.filter(what=TemplateEvent.EDITED).update(at=timezone.now() - timedelta(days=2))
    next_day = press(admin, "submit", template)

    assert "1 in 24 hours" in said and len(calls(meta)) == 2  # the simulator's own clock still says no
    assert "once in 24 hours" in next_day and template.status == Status.DRAFT


def test_a_month_has_ten_of_them(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = approved(meta, channel)
    for days in range(2, 12):
        lifecycle.record_event(
            template, by=ChangeAuthor(source=Source.MANUAL), what=TemplateEvent.EDITED, to_status=Status.PENDING
        )
        newest = template.events.first()
        TemplateEvent.objects.filter(pk=newest.pk).update(at=timezone.now() - timedelta(days=days))
    reword(template)

    assert "10 in 30 days" in press(admin, "submit", template)
    assert calls(meta) == []


def test_the_category_of_an_approved_one_stays(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = approved(meta, channel)
    reword(template)
    template.refresh_from_db()
    lifecycle.change_category(template, "MARKETING", by=ChangeAuthor(source=Source.MANUAL))
    refused = press(admin, "submit", template)
    lifecycle.change_category(template, "UTILITY", by=ChangeAuthor(source=Source.MANUAL))
    press(admin, "submit", template)

    assert "category" in refused and len(calls(meta)) == 1
    assert template.status == Status.PENDING


def test_what_they_are_still_looking_at_is_not_changed(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    meta.behave(review="wait")
    template = draft(channel)
    press(admin, "submit", template)
    reword(template)
    said = press(admin, "submit", template)
    meta.review(theirs_of(meta, template), "APPROVED")
    news(meta, template)
    meanwhile = (template.status, template.provider_status)
    press(admin, "submit", template)

    assert "cannot be changed in this status" in said
    assert meanwhile == (Status.DRAFT, Status.APPROVED)  # their word is about the former text
    assert theirs_of(meta, template).component("BODY")["text"] == NEW_BODY


def test_a_rejected_one_is_mended_and_handed_in_again(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    meta.behave(review="reject", times=1)
    template = draft(channel)
    press(admin, "submit", template)
    news(meta, template)
    rejected = (template.status, template.reject_reason)
    reword(template)
    press(admin, "submit", template)
    news(meta, template)

    assert rejected == (Status.REJECTED, "INCORRECT_CATEGORY")
    assert template.status == Status.APPROVED and len(meta.templates.rows) == 1
    assert set(next(c.json for c in meta.api_calls if c.path == template.external_id)) == {"components", "category"}


# --- deleted ---------------------------------------------------------------------------------------------


def test_one_is_deleted_by_its_id_and_its_other_languages_stay(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    meta.add_template("order_ready", language="ru")
    meta.add_template("order_ready", language="en_US", body="Hello, {{1}}! Your order {{2}} is ready.")
    provider_sync.sync_channel(channel)
    template, other = Template.objects.get(language="ru"), Template.objects.get(language="en_US")
    shown = buttons(admin, template)
    press(admin, "delete-at-provider", template)
    provider_sync.sync_channel(channel)
    other.refresh_from_db()

    assert "delete-at-provider" in shown and "delete" not in shown and "approve" not in shown
    assert [row.language for row in meta.templates.rows.values()] == ["en_US"]
    assert (template.status, template.external_id) == (Status.DELETED, "")
    assert other.status == Status.APPROVED
    press(admin, "restore", template)
    assert template.status == Status.DRAFT


def test_a_deletion_that_is_refused_leaves_it_approved(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = approved(meta, channel)
    meta.access_token = "another"
    said = press(admin, "delete-at-provider", template)

    assert "token" in said
    assert template.status == Status.APPROVED and template.external_id in meta.templates.rows


@pytest.mark.parametrize(("how", "status"), [("cut", Status.DELETED), ("lost", Status.APPROVED)])
def test_a_deletion_without_an_answer_is_settled_by_their_list(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, how: str, status: str
) -> None:
    template = approved(meta, channel)
    meta.behave(manage=how, times=1)
    said = press(admin, "delete-at-provider", template)
    meanwhile = template.is_sendable
    provider_sync.sync_channel(channel)
    template.refresh_from_db()

    assert "may or may not be deleted" in said and not meanwhile
    assert template.status == status


def test_what_was_never_there_is_deleted_here_alone(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = draft(channel)
    shown = buttons(admin, template)
    press(admin, "delete", template)

    assert "delete" in shown and "delete-at-provider" not in shown
    assert template.status == Status.DELETED and calls(meta, "DELETE") == []
