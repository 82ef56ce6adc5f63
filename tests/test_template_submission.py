"""Submission, editing and deletion of templates in the admin, with the simulator of Meta."""

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
    cloud = cloud_channel(settings={"base_url": meta.url} | SECRETS, name="Магазин")
    assert meta.connect(f"{live_server.url}{cloud.webhook_path}")
    return cloud


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(vera())
    client.cookies["django_language"] = "en"
    return client


def draft(channel: ApiChannel, **more: Any) -> Template:
    template: Template = TemplateFactory(
        **{"api_channel": channel, "status": Status.DRAFT, "name": "order_ready"} | more
    )
    return template


def press(admin: Client, slug: str, *templates: Template) -> str:
    """Run a confirmed action and return the text of the page."""
    url = reverse("admin:templates_registry_template_action", args=[slug])
    page = admin.post(url, {"template": [one.pk for one in templates], "confirmed": "yes"}, follow=True)
    for one in templates:
        one.refresh_from_db()
        one.__dict__.pop("definition", None)
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
    """Return a template that Meta has approved."""
    meta.add_template("order_ready", **more)
    assert provider_sync.sync_channel(channel).new == 1
    return Template.objects.get()


def reword(template: Template, body: str = NEW_BODY) -> None:
    lifecycle.change_text(template, replace(template.definition, body=body), by=ChangeAuthor(source=Source.MANUAL))


# --- submission ------------------------------------------------------------------------------------------


def test_a_submitted_draft_has_all_parts_and_receives_the_decision(
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
    page_text = press(admin, "submit", template)
    waiting = (template.status, template.provider_status)
    news(meta, template)

    [submitted] = [called.json for called in meta.api_calls if called.path.endswith("/message_templates")]
    assert submitted == {
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
    assert waiting == (Status.PENDING, Status.PENDING) and "will appear automatically" in page_text
    assert template.external_id in meta.templates.rows
    assert (template.status, template.provider_status) == (Status.APPROVED, Status.APPROVED)


def test_named_variables_are_submitted_with_named_examples(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(channel, body="Здравствуйте, {{client}}, ждём вас!", parameter_format="NAMED", examples=())
    Template.objects.update(variables=[{"key": "client", "example": "Анна"}])
    press(admin, "submit", template)

    body = theirs_of(meta, template).component("BODY")
    assert body["example"] == {"body_text_named_params": [{"param_name": "client", "example": "Анна"}]}


def test_a_header_picture_is_downloaded_and_uploaded_as_a_sample(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    picture = meta.media.keep(b"\xff\xd8\xff boots", mime="image/jpeg", now=meta.now())
    link = meta.media.address(picture, host=meta.url, now=meta.now())
    meta.auth_header, header = "X-Nobody", meta.auth_header  # the host of the sample needs no key …
    meta.access_token, token = "", meta.access_token
    template = draft(channel, header={"format": "IMAGE"})
    Template.objects.update(variables=[*template.variables, {"key": "header.media", "example": link}])
    real = http_client.send

    def with_key(request: Any, **more: Any) -> Any:  # … but the API does
        if "/whatsapp_business/" not in request.url:
            meta.auth_header, meta.access_token = header, token
        return real(request, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "send", with_key)
        page_text = press(admin, "submit", template)

    assert template.status == Status.PENDING, page_text
    [handle] = theirs_of(meta, template).component("HEADER")["example"]["header_handle"]
    assert meta.media.samples[handle] == b"\xff\xd8\xff boots"


def test_a_sample_that_cannot_be_downloaded_prevents_submission(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(channel, header={"format": "IMAGE"})
    without = press(admin, "submit", template)
    Template.objects.update(variables=[*template.variables, {"key": "header.media", "example": f"{meta.url}/nothing"}])
    gone = press(admin, "submit", template)

    assert "a link to a sample" in without and "could not be downloaded" in gone
    assert template.status == Status.DRAFT and calls(meta) == []


def test_examples_are_required_for_submission(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = draft(channel, examples=())
    page_text = press(admin, "submit", template)

    assert "example" in page_text and template.status == Status.DRAFT
    assert calls(meta) == []


def test_a_refusal_is_shown_and_leaves_the_template_unchanged(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    meta.add_template("order_ready")
    template = draft(channel)
    page_text = press(admin, "submit", template)

    assert "Content in this language already exists" in page_text
    assert (template.status, template.submitted_at, template.external_id) == (Status.DRAFT, None, "")
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk]))
    assert "Content in this language already exists" in page.content.decode()  # in the history
    assert not page.context["adminform"].form.fields["name"].disabled  # the name can still be changed


def test_an_invalid_token_is_reported_and_nothing_changes(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    meta.access_token = "another"
    template = draft(channel)
    page_text = press(admin, "submit", template)

    assert "token" in page_text and template.status == Status.DRAFT


def test_a_category_other_than_the_requested_one_is_reported(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = meta.templates.add

    def moved(row: Any, **more: Any) -> Theirs:
        return add(row | {"category": "MARKETING"}, **more)

    monkeypatch.setattr(meta.templates, "add", moved)
    template = draft(channel)
    page_text = press(admin, "submit", template)

    assert "MARKETING" in page_text and "price" in page_text
    assert template.category == "MARKETING"


def test_a_decision_that_arrives_before_the_response_is_kept(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = http_client.send

    def slow(request: Any, **more: Any) -> Any:
        assert not connection.in_atomic_block  # the provider is called outside any transaction
        answer = real(request, **more)
        meta.quiet()
        processing.process_inbox()
        return answer

    monkeypatch.setattr(http_client, "send", slow)
    template = draft(channel)
    press(admin, "submit", template)

    assert template.status == Status.APPROVED and template.external_id in meta.templates.rows


@pytest.mark.parametrize(("how", "status"), [("cut", Status.APPROVED), ("lost", Status.DRAFT)])
def test_without_a_response_the_next_sync_shows_the_submission(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, how: str, status: str
) -> None:
    meta.behave(manage=how, times=1)
    template = draft(channel)
    page_text = press(admin, "submit", template)
    unsure = template.status
    again = press(admin, "submit", template)
    provider_sync.sync_channel(channel)  # shortly after the call, a missing template proves nothing
    template.refresh_from_db()
    after_a_moment = template.status
    Template.objects.filter(status=Status.PENDING).update(submitted_at=timezone.now() - timedelta(hours=1))
    provider_sync.sync_channel(channel)
    template.refresh_from_db()

    assert "may or may not have been submitted" in page_text and unsure == Status.PENDING
    assert "not available while the template is" in again
    assert after_a_moment in (Status.PENDING, Status.APPROVED)
    assert template.status == status
    assert bool(template.external_id) == (how == "cut")


def test_a_provider_without_submission_is_not_called(admin: Client) -> None:
    template = TemplateFactory(api_channel=ApiChannelFactory(), status=Status.DRAFT)

    assert "delete-at-provider" not in buttons(admin, template) and "approve" in buttons(admin, template)
    assert "Give the text to the provider" in press(admin, "submit", template)
    assert template.status == Status.PENDING


# --- editing ---------------------------------------------------------------------------------------------


def test_a_new_text_is_submitted_without_the_category(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    template = approved(meta, channel)
    reword(template)
    template.refresh_from_db()
    before = (template.status, template.provider_status)
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk]))
    press(admin, "submit", template)
    news(meta, template)

    assert before == (Status.DRAFT, Status.APPROVED)
    assert "previous text at the provider: approved" in page.content.decode()
    [called] = [called for called in meta.api_calls if called.method == "POST"]
    assert called.path == template.external_id and set(called.json) == {"components"}
    assert theirs_of(meta, template).component("BODY")["text"] == NEW_BODY
    assert template.status == Status.APPROVED and len(meta.templates.rows) == 1
    assert template.events.filter(kind=TemplateEvent.EDITED).count() == 1


def test_a_second_edit_within_a_day_is_refused_without_a_call(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    for number in range(2):
        reword(template, f"{NEW_BODY} И снова {number}!")
        template.refresh_from_db()
        page_text = press(admin, "submit", template)
        news(meta, template)
    TemplateEvent.objects.filter(kind=TemplateEvent.EDITED).update(at=timezone.now() - timedelta(days=2))
    next_day = press(admin, "submit", template)

    assert "1 in 24 hours" in page_text and len(calls(meta)) == 2  # the simulator enforces the limit by its own clock
    assert "once in 24 hours" in next_day and template.status == Status.DRAFT


def test_ten_edits_of_an_approved_template_are_allowed_in_a_month(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    for days in range(2, 12):
        lifecycle.record_event(
            template, by=ChangeAuthor(source=Source.MANUAL), kind=TemplateEvent.EDITED, to_status=Status.PENDING
        )
        newest = template.events.first()
        TemplateEvent.objects.filter(pk=newest.pk).update(at=timezone.now() - timedelta(days=days))
    reword(template)

    assert "10 in 30 days" in press(admin, "submit", template)
    assert calls(meta) == []


def test_the_category_of_an_approved_template_cannot_be_changed(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    reword(template)
    template.refresh_from_db()
    lifecycle.change_category(template, "MARKETING", by=ChangeAuthor(source=Source.MANUAL))
    refused = press(admin, "submit", template)
    lifecycle.change_category(template, "UTILITY", by=ChangeAuthor(source=Source.MANUAL))
    press(admin, "submit", template)

    assert "category" in refused and len(calls(meta)) == 1
    assert template.status == Status.PENDING


def test_a_template_under_review_cannot_be_edited(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
    meta.behave(review="wait")
    template = draft(channel)
    press(admin, "submit", template)
    reword(template)
    page_text = press(admin, "submit", template)
    meta.review(theirs_of(meta, template), "APPROVED")
    news(meta, template)
    meanwhile = (template.status, template.provider_status)
    press(admin, "submit", template)

    assert "cannot be changed in this status" in page_text
    assert meanwhile == (Status.DRAFT, Status.APPROVED)  # the status is that of the previous text
    assert theirs_of(meta, template).component("BODY")["text"] == NEW_BODY


def test_a_rejected_template_can_be_edited_and_submitted_again(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
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


# --- deletion --------------------------------------------------------------------------------------------


def test_deletion_by_id_keeps_the_other_languages(meta: MetaSimulator, channel: ApiChannel, admin: Client) -> None:
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


def test_a_refused_deletion_leaves_the_template_approved(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = approved(meta, channel)
    meta.access_token = "another"
    page_text = press(admin, "delete-at-provider", template)

    assert "token" in page_text
    assert template.status == Status.APPROVED and template.external_id in meta.templates.rows


@pytest.mark.parametrize(("how", "status"), [("cut", Status.DELETED), ("lost", Status.APPROVED)])
def test_without_a_response_the_next_sync_shows_the_deletion(
    meta: MetaSimulator, channel: ApiChannel, admin: Client, how: str, status: str
) -> None:
    template = approved(meta, channel)
    meta.behave(manage=how, times=1)
    page_text = press(admin, "delete-at-provider", template)
    meanwhile = template.is_sendable
    provider_sync.sync_channel(channel)
    template.refresh_from_db()

    assert "may or may not be deleted" in page_text and not meanwhile
    assert template.status == status


def test_a_template_that_was_never_submitted_is_deleted_locally(
    meta: MetaSimulator, channel: ApiChannel, admin: Client
) -> None:
    template = draft(channel)
    shown = buttons(admin, template)
    press(admin, "delete", template)

    assert "delete" in shown and "delete-at-provider" not in shown
    assert template.status == Status.DELETED and calls(meta, "DELETE") == []
