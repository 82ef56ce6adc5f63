"""Searches with any query: a limited number of statements, none of them long."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from channels_setup.models import ApiChannel
from tests.factories import ConversationFactory, MessageFactory, TemplateFactory, token_of, vera
from tests.pages import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english"), pytest.mark.exhaustive]

QUERIES = (
    "a " * 5_000,
    "%" * 10_000,
    "_" * 10_000,
    "\\" * 5_000,
    "a" * 10_000,
    "'\" " * 3_000,
    "1 " * 5_000,
    "& | ! ( ) : * <-> ",
)
MOST_STATEMENTS, LONGEST_STATEMENT = 48, 40_000

DESK = (
    "/chats/?q={}",
    "/requests/?q={}",
    "/templates/?q={}",
    "/chats/{chat}/templates/?find={}",
    "/chats/{chat}/canned-responses/?find={}",
)
API = (
    "/api/v1/contacts/?search={}",
    "/api/v1/messages/?search={}",
    "/api/v1/contacts/?phone={}",
    "/api/v1/templates/?name={}",
)


def search(client: Client, address: str, query: str, headers: dict[str, str] | None = None) -> int:
    path, _mark, name = address.partition("?")
    name = name.removesuffix("={}")
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path, {name: query}, headers=headers)
    assert answer.status_code < 500
    assert len(captured.captured_queries) <= MOST_STATEMENTS
    assert max((len(one["sql"]) for one in captured.captured_queries), default=0) <= LONGEST_STATEMENT
    return answer.status_code


@pytest.fixture
def chat(channel: ApiChannel) -> int:
    conversation = ConversationFactory(api_channel=channel)
    MessageFactory(conversation=conversation)
    TemplateFactory(api_channel=channel)
    return conversation.pk


def searchable_lists() -> list[str]:
    names = [f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist" for model in admin.site._registry]
    return [name for name, one in zip(names, admin.site._registry.values(), strict=True) if one.search_fields]


def test_admin_lists_limit_searches(client: Client, chat: int) -> None:
    signed_in(client, vera())
    assert len(searchable_lists()) > 5
    for name in searchable_lists():
        for query in QUERIES[:3]:
            search(client, f"{reverse(name)}?q={{}}", query)


def test_an_overlong_query_of_a_list_is_refused_with_an_explanation(client: Client) -> None:
    page = signed_in(client, vera()).get(reverse("admin:accounts_user_changelist"), {"q": "a " * 51})

    assert "at most 100 characters" in page.content.decode()


def test_admin_autocompletion_limits_searches(client: Client, chat: int) -> None:
    signed_in(client, vera())
    names = {"app_label": "channels_setup", "model_name": "apichannel", "field_name": "watched"}
    with CaptureQueriesContext(connection) as captured:
        client.get("/admin/autocomplete/", {**names, "term": "a " * 5_000})

    assert max(len(one["sql"]) for one in captured.captured_queries) <= LONGEST_STATEMENT


@pytest.mark.parametrize("address", DESK)
def test_the_desk_limits_searches(desk: Client, chat: int, address: str) -> None:
    for query in QUERIES:
        assert search(desk, address.replace("{chat}", str(chat)), query) in (200, 404)


@pytest.mark.parametrize("address", API)
def test_the_api_limits_searches(client: Client, chat: int, address: str) -> None:
    for query in QUERIES:
        search(client, address, query, headers=token_of(vera()))


@pytest.mark.parametrize("method", ["users", "clients", "tickets", "tags"])
def test_the_public_api_refuses_an_overlong_query(client: Client, method: str) -> None:
    channel = ApiChannel.objects.create(name="Desk", kind="acebot")
    key = channel.issue_secret()
    key = getattr(key, "reveal", lambda: key)()
    for query in QUERIES:
        with CaptureQueriesContext(connection) as captured:
            answer = client.post(
                f"/uapi/{method}",
                {"api_token": key, "query": query},
                content_type="application/json",
                headers={"accept-language": "en"},
            )
        assert answer.status_code in (200, 400, 404)
        assert max((len(one["sql"]) for one in captured.captured_queries), default=0) <= LONGEST_STATEMENT
        assert ("200 characters" in answer.content.decode()) is (len(query.strip()) > 200)
