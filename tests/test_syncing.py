"""Synchronization with the provider's list: complete or not at all, with versions and events for each change."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from bridge import tasks
from bridge.inbox import processing
from bridge.models import WebhookEvent
from channels_setup import http_client
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers import messengers
from channels_setup.providers.base import ApiRequest, ApiResponse, TemplatePage
from templates_registry import lifecycle
from templates_registry.index_cache import recognize_template
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Registry, Template, TemplateEvent
from templates_registry.provider import provider_sync
from tests.cloud_accounts import cloud_channel
from tests.factories import ApiChannelFactory, TemplateFactory

pytestmark = pytest.mark.django_db

HAND = ChangeAuthor(source=Source.MANUAL)


def row(name: str = "order_ready", body: str = "Ваш заказ {{1}} готов.", **more: Any) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "name": name,
        "language": "ru",
        "status": "APPROVED",
        "category": "UTILITY",
        "components": [{"type": "BODY", "text": body}],
        **more,
    }


class Listing:
    """Pages that the provider will list. An exception in place of a page is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        self.pages: Sequence[Any] = [[]]
        provider = messengers()[kind]
        monkeypatch.setattr(provider, "fetch_templates", self.fetch, raising=False)

    def __call__(self, *pages: Any) -> None:
        self.pages = pages

    def fetch(self, account: Any, *, after: str = "") -> TemplatePage:
        number = int(after or 0)
        page = self.pages[number]
        if isinstance(page, Exception):
            raise page
        more = str(number + 1) if number + 1 < len(self.pages) else ""
        return TemplatePage(rows=tuple(page), after=more)


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    yield Listing(monkeypatch, "sandbox")


# --- list of the sandbox ---------------------------------------------------------------------------------


def test_templates_of_the_sandbox_are_recognized_after_a_sync(channel: ApiChannel) -> None:
    result = provider_sync.sync_channel(channel)

    assert result.new == result.total == Template.objects.count() > 5
    assert {"ru", "en"} == set(Template.objects.values_list("language", flat=True))
    found = recognize_template(
        channel, "Заказ готов\nЗдравствуйте, Анна! Ваш заказ № 42 готов к выдаче.\nЕжедневно с 9 до 21"
    )
    assert (found.outcome, found.parameters) == ("template", {"1": "Анна", "2": "№ 42"})
    assert Template.objects.get(name="order_ready", language="ru").definition.variable_title("1") == "Имя клиента"
    assert "new" in result.sentence or "нов" in result.sentence


def test_a_second_sync_changes_nothing(channel: ApiChannel) -> None:
    provider_sync.sync_channel(channel)
    events, version = TemplateEvent.objects.count(), Registry.objects.get().version

    again = provider_sync.sync_channel(channel)

    assert (again.new, again.changed, again.removed) == (0, 0, 0)
    assert (TemplateEvent.objects.count(), Registry.objects.get().version) == (events, version)


# --- complete or not at all ------------------------------------------------------------------------------


def test_a_failed_page_changes_nothing(channel: ApiChannel, lists: Listing) -> None:
    lists([row("a")], [row("b")])
    provider_sync.sync_channel(channel)

    lists([row("a", "Совсем другой текст без всего."), row("c")], provider_sync.FetchFailed("Сеть пропала."))
    result = provider_sync.sync_channel(channel)

    assert "Сеть пропала." in result.sentence
    assert set(Template.objects.values_list("name", "status")) == {("a", "approved"), ("b", "approved")}
    registry = Registry.objects.get()
    assert registry.sync_error == "Сеть пропала."
    assert registry.synced_at < timezone.now() < registry.next_sync_at < timezone.now() + provider_sync.SYNC_INTERVAL


def test_an_endless_list_is_an_error(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    page = TemplatePage(rows=(row(),), after="again")
    monkeypatch.setattr(messengers()["sandbox"], "fetch_templates", lambda account, after="": page)

    assert provider_sync.sync_channel(channel).error
    assert not Template.objects.exists()


def test_a_successful_sync_clears_the_error_and_is_due_in_an_hour(channel: ApiChannel, lists: Listing) -> None:
    lists(provider_sync.FetchFailed("Ой."))
    provider_sync.sync_channel(channel)

    lists([row()])
    provider_sync.sync_channel(channel)

    registry = Registry.objects.get()
    assert registry.sync_error == "" and registry.synced_at is not None
    assert timedelta(minutes=59) < registry.next_sync_at - timezone.now() < timedelta(minutes=61)


def test_unreadable_templates_do_not_block_the_others(channel: ApiChannel, lists: Listing) -> None:
    lists([row("a"), row("b")])
    provider_sync.sync_channel(channel)

    twice = [{"type": "BODY", "text": "а"}, {"type": "BODY", "text": "б"}]
    lists(["что это?", row("a", components=twice), row("b", status="PAUSED"), row("x" * 513)])
    result = provider_sync.sync_channel(channel)

    assert len(result.unreadable) == 3
    assert set(Template.objects.values_list("name", "status")) == {("a", "approved"), ("b", "paused")}


# --- changes ---------------------------------------------------------------------------------------------


def test_an_unlisted_template_is_deleted_until_it_is_listed_again(channel: ApiChannel, lists: Listing) -> None:
    lists([row("a"), row("b")])
    provider_sync.sync_channel(channel)
    draft = TemplateFactory(api_channel=channel, status="draft")

    lists([row("a")])
    provider_sync.sync_channel(channel)

    gone = Template.objects.get(name="b")
    event = gone.events.first()
    assert (gone.status, event.source, event.from_status) == ("deleted", "sync", "approved")
    draft.refresh_from_db()
    assert draft.status == "draft"

    lists([row("a"), row("b")])
    provider_sync.sync_channel(channel)

    gone.refresh_from_db()
    assert gone.status == "approved"


def test_a_text_changed_by_the_provider_keeps_approval_and_labels(channel: ApiChannel, lists: Listing) -> None:
    lists([row(body="Ваш заказ {{1}} собран.", variables=[{"key": "1", "label": "Номер заказа"}])])
    provider_sync.sync_channel(channel)

    lists([row(body="Ваш заказ {{1}} готов.")])
    result = provider_sync.sync_channel(channel)

    template = Template.objects.get()
    assert (result.changed, template.status, template.versions.count()) == (1, "approved", 2)
    assert template.definition.variable_title("1") == "Номер заказа"
    assert [event.kind for event in template.events.all()] == ["text", "status"]
    assert recognize_template(channel, "Ваш заказ № 5 собран.").retired


def test_status_category_quality_and_reason_are_events(channel: ApiChannel, lists: Listing) -> None:
    lists([row()])
    provider_sync.sync_channel(channel)

    changes = {"status": "REJECTED", "rejected_reason": "PROMOTIONAL", "category": "MARKETING"}
    lists([row(**changes, quality_score={"score": "RED"})])
    provider_sync.sync_channel(channel)

    template = Template.objects.get()
    assert (template.status, template.reject_reason) == ("rejected", "PROMOTIONAL")
    assert (template.category, template.requested_category, template.quality) == ("MARKETING", "UTILITY", "RED")
    assert {event.kind for event in template.events.filter(source="sync")} == {"status", "category", "quality"}
    assert template.definition.requested_category == "UTILITY"


@pytest.mark.parametrize(("word", "status"), [("in_appeal", "in_appeal"), ("SOMETHING_NEW", "unknown")])
def test_an_unrecognized_status_is_not_sendable(channel: ApiChannel, lists: Listing, word: str, status: str) -> None:
    lists([row(status=word)])

    provider_sync.sync_channel(channel)

    assert Template.objects.get().status == status
    assert not Template.objects.sendable()


def test_a_new_sample_of_a_link_is_not_a_new_text(channel: ApiChannel, lists: Listing) -> None:
    def with_picture(link: str) -> dict[str, Any]:
        header = {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": [link]}}
        return row(components=[header, {"type": "BODY", "text": "Ваш заказ готов."}])

    lists([with_picture("https://cdn.example/1?oh=a")])
    provider_sync.sync_channel(channel)
    lists([with_picture("https://cdn.example/1?oh=b")])

    assert provider_sync.sync_channel(channel).changed == 0
    assert Template.objects.get().versions.count() == 1


def test_a_newer_draft_is_not_overwritten_by_the_providers_old_text(channel: ApiChannel, lists: Listing) -> None:
    lists([row(body="Ваш заказ {{1}} собран.")])
    provider_sync.sync_channel(channel)
    template = Template.objects.get()
    new = TemplateFactory.build(api_channel=channel, body="Ваш заказ {{1}} готов к выдаче.", examples=["№ 42"])
    lifecycle.change_text(template, new.definition, by=HAND)

    result = provider_sync.sync_channel(channel)

    template.refresh_from_db()
    assert (result.left_unchanged, template.status, template.definition.body) == (
        1,
        "draft",
        "Ваш заказ {{1}} готов к выдаче.",
    )

    lists([row(body="Ваш заказ {{1}} готов к выдаче.")])
    provider_sync.sync_channel(channel)

    template.refresh_from_db()
    assert template.status == "approved"


# --- over HTTP -------------------------------------------------------------------------------------------


class GraphLike:
    """A provider that lists its templates over HTTP."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
        self.requested_urls: list[str] = []
        self.answers = iter(answers)
        monkeypatch.setattr(messengers()["sandbox"], "fetch_templates", self.fetch)
        monkeypatch.setattr(http_client, "send", self.send)

    def fetch(self, account: Any, *, after: str = "") -> ApiRequest:
        return ApiRequest(method="GET", url=f"https://graph.example/list?after={after}", headers={}, body=b"")

    def send(self, request: ApiRequest, *, max_bytes: int) -> ApiResponse:
        self.requested_urls.append(request.url)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return ApiResponse(
            status=status, headers={}, body=body if isinstance(body, bytes) else json.dumps(body).encode()
        )


def test_all_pages_are_fetched_over_http(channel: ApiChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"data": [row("a")], "paging": {"cursors": {"after": "MjQ="}, "next": "https://graph.example/…"}}
    last = {"data": [row("b")], "paging": {"cursors": {"after": "NDg="}}}
    provider = GraphLike(monkeypatch, [(200, first), (200, last)])

    result = provider_sync.sync_channel(channel)

    assert result.new == 2
    assert provider.requested_urls == ["https://graph.example/list?after=", "https://graph.example/list?after=MjQ="]


def test_a_refusal_of_the_list_is_shown_in_the_providers_words(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = cloud_channel()
    error = {"message": "Error validating access token: Session has expired", "code": 190}
    GraphLike(monkeypatch, [(401, {"error": error})])

    result = provider_sync.sync_channel(cloud)

    assert "Session has expired" in result.error and "(190)" in result.error


@pytest.mark.parametrize(
    "answer",
    [
        (401, b""),
        (500, b"<html>"),
        (302, b""),
        (429, b"{}"),
        (200, b"<html>"),
        (200, {"data": {}}),
        (200, {"data": [], "paging": {"next": "…"}}),
        http_client.ConnectionFailed("cannot_connect"),
        http_client.NoResponse(),
        http_client.ForbiddenAddress("Нельзя."),
    ],
)
def test_any_response_of_a_provider_results_in_a_sentence(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    GraphLike(monkeypatch, [answer])

    result = provider_sync.sync_channel(channel)

    assert result.error.endswith(".")
    assert Registry.objects.get().sync_error_text == result.error


def test_a_failed_sync_is_explained_in_the_readers_language(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    GraphLike(
        monkeypatch, [http_client.ConnectionFailed("cannot_connect"), http_client.ConnectionFailed("cannot_connect")]
    )

    for language in ("ru", "en"):
        with translation.override(language):
            provider_sync.sync_channel(channel)
        registry = Registry.objects.get()
        with translation.override("en"):
            assert registry.sync_error_text == "The provider cannot be reached."
        with translation.override("ru"):
            assert "Провайдер" in registry.sync_error_text


# --- schedule --------------------------------------------------------------------------------------------


def test_the_task_synchronizes_only_due_channels() -> None:
    due, later, paused = ApiChannelFactory(), ApiChannelFactory(), ApiChannelFactory(state=ChannelState.PAUSED)
    cannot = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/")
    Registry.objects.create(api_channel=later, next_sync_at=timezone.now() + timedelta(minutes=5))

    done = tasks.sync_templates()

    assert done == 1
    assert set(Template.objects.values_list("api_channel", flat=True)) == {due.pk}
    assert not Registry.objects.filter(api_channel__in=[paused, cannot]).exists()
    assert tasks.sync_templates() == 0


# --- reported changes ------------------------------------------------------------------------------------


def tell(channel: ApiChannel, **event: Any) -> WebhookEvent:
    body = json.dumps({"type": "template", **event}).encode()
    stored = WebhookEvent.objects.create(
        api_channel=channel, endpoint="webhook", method="POST", content_type="application/json", body=body
    )
    processing.process_inbox()
    stored.refresh_from_db()
    return stored


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_reported_status_is_applied_by_id_or_name(channel: ApiChannel, by: str) -> None:
    template = TemplateFactory(api_channel=channel, name="sale", external_id="id-7")
    TemplateFactory(api_channel=channel, name="sale", language="en")
    TemplateFactory(name="sale")

    named = {"id": "id-7"} if by == "id" else {"name": "sale", "language": "ru"}
    event = tell(channel, **named, status="PAUSED", reason="Жалобы")

    assert (event.state, event.error) == ("processed", "")
    template.refresh_from_db()
    newest = template.events.first()
    assert (template.status, newest.source, newest.reason) == ("paused", "provider", "Жалобы")
    assert Template.objects.filter(status="approved").count() == 2


def test_a_report_of_an_unknown_template_adds_it_and_schedules_a_sync(channel: ApiChannel) -> None:
    event = tell(channel, name="new_one", language="ru", status="APPROVED")

    noted = Template.objects.get()
    assert event.state == "processed"
    assert (noted.name, noted.status) == ("new_one", "unknown")
    assert noted.events.get().reason
    assert recognize_template(channel, "Здравствуйте!").outcome == "none"
    assert Registry.objects.get().next_sync_at <= timezone.now()


def test_a_report_without_a_name_adds_nothing(channel: ApiChannel) -> None:
    event = tell(channel, id="id-of-nobody", status="APPROVED")

    assert event.state == "processed"
    assert not Template.objects.exists()
    assert Registry.objects.get().next_sync_at <= timezone.now()
