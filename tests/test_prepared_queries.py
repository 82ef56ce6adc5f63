"""Prepared queries return what their querysets return, and joined constants of templates what their nodes return."""

import inspect
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Engine
from django.test import RequestFactory
from django.utils import timezone, translation

from bridge.automation import macros
from bridge.conversations import consents, contact_fields
from bridge.desk import access, saved_views, teams
from bridge.desk.client import card, pane
from bridge.desk.thread import messages
from bridge.desk.views import chats
from bridge.models import (
    ChatPin,
    ContactChange,
    ContactConsent,
    ContactField,
    ContactNote,
    Conversation,
    Draft,
    Macro,
    SavedView,
    Upload,
)
from channels_setup.models import ApiChannel, ChatChannel, Team
from channels_setup.prepared_queries import MAX_ID, PreparedQuery
from channels_setup.roles import Role, assign_role
from config.accounts import permissions
from config.web.constant_nodes import ConstantNode
from tests.factories import ChatChannelFactory, boris, gleb, operator, vera
from tests.scenarios.sending import client_writes

MODULES = (access, saved_views, teams, macros, consents, contact_fields, card, pane, messages, chats, permissions)
PREPARED: dict[str, PreparedQuery[Any]] = {
    f"{module.__name__}.{name}": query
    for module in (
        access,
        saved_views,
        teams,
        macros,
        consents,
        contact_fields,
        card,
        pane,
        messages,
        chats,
        permissions,
    )
    for name, query in vars(module).items()
    if isinstance(query, PreparedQuery)
}


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    chat = client_writes(channel, "Анна Соколова", "Где мой заказ?")
    operator, contact = boris(), chat.contact
    operator.chat_channels.add(chat.chat_channel)
    Conversation.objects.filter(pk=chat.pk).update(assignee=operator)
    SavedView.objects.create(name="Мои", page="chats", owner=operator, filters={"assignee": "me"})
    Team.objects.create(name="Склад").chat_channels.add(chat.chat_channel)
    Draft.objects.create(conversation=chat, user=operator, text="Уже едет", details={"a": 1})
    ChatPin.objects.create(conversation=chat, user=operator)
    Macro.objects.create(name="Закрыть", reply_text="Спасибо", owner=operator, assign_user=operator)
    ContactField.objects.create(name="Город", kind="text", position=1)
    ContactNote.objects.create(contact=contact, author=operator, text="VIP")
    ContactChange.objects.create(contact=contact, field="name", old="A", new="B", by=operator)
    ContactConsent.objects.create(contact=contact, opt_out="all", opt_out_by=operator)
    Upload.objects.create(conversation=chat, author=operator, name="a.pdf", size=1, expires_at=timezone.now())
    return chat


def describe(row: Any) -> dict[str, Any]:
    """Return the values of a row, and those of the rows that are loaded with it."""
    related = {name: describe(found) for name, found in row._state.fields_cache.items() if found is not None}
    return {**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}, **related}


@pytest.mark.django_db
@pytest.mark.parametrize("name", PREPARED)
def test_rows(name: str, chat: Conversation) -> None:
    """Two calls with different arguments: nothing of the first one is left in the SQL."""
    query, values = PREPARED[name], {"pk": chat.pk, "chat": chat.pk, "contact": chat.contact_id, "user": boris().pk}
    values |= {"user_id": boris().pk, "chat_channel": chat.chat_channel_id, "chat_channel_id": chat.chat_channel_id}
    names = query.build.__code__.co_varnames[: query.build.__code__.co_argcount]
    arguments = [values[each] for each in names if each != "self"]
    if query.build.__code__.co_flags & inspect.CO_VARARGS:
        arguments += [chat.chat_channel_id, ChatChannelFactory().pk]
    if query is permissions.USER:
        arguments = [boris().pk]

    for numbers in ([number + 900_000 for number in arguments], arguments):
        expected = [describe(row) for row in query.build(*numbers)]
        assert [describe(row) for row in query(*numbers)] == expected
    assert expected


@pytest.mark.django_db
def test_a_number_that_no_row_can_have(chat: Conversation) -> None:
    assert access.ANY_CONVERSATION(MAX_ID + 1) == []


@pytest.mark.django_db
def test_rights_as_in_the_queryset(chat: Conversation, rf: RequestFactory) -> None:
    """The prepared queries of chats and channels return what ``visible_to`` allows."""
    elsewhere, auditor = ChatChannelFactory(), operator("arkady")
    assign_role(auditor, role=Role.AUDITOR)
    limited, unlimited = boris(), vera()
    limited.limited_to_chat_channels, unlimited.limited_to_chat_channels = [elsewhere.pk], [chat.chat_channel_id]
    users = {
        "admin": vera(),
        "operator": boris(),
        "operator of another channel": operator("galina", elsewhere),
        "operator of no channel": gleb(),
        "auditor": auditor,
        "token of another channel": limited,
        "token of this channel": unlimited,
        "nobody": AnonymousUser(),
    }
    seeing = set()
    for name, user in users.items():
        request = rf.get("/")
        request.user = user
        allowed = Conversation.objects.all().visible_to(user)
        found = access._find_conversation(user, chat.pk)
        assert (found is not None) is allowed.filter(pk=chat.pk).exists(), name
        assert set(access.visible_channels(request)) == set(ChatChannel.objects.all().visible_to(user)), name
        if found:
            seeing.add(name)
    assert seeing == {"admin", "operator", "token of this channel"}


def test_joined_constants_follow_the_language() -> None:
    loader = "config.web.constant_nodes.Loader"
    source = (
        "{% load i18n desk_tags %}{% translate 'Chats' %} {% icon 'clock' %}{% if a %}<b>{% translate 'Save' %}</b>"
        "{% else %}{{ a }}{% endif %}{% for b in c %}<i>{% url 'chats' %}</i>{{ b }}{% endfor %}"
        "{% translate 'Chats' as d %}{{ d }}{% icon e %}"
    )
    texts = ("django.template.loaders.locmem.Loader", {"x": source, "y": "{% extends 'x' %}"})
    libraries = {"i18n": "django.templatetags.i18n", "desk_tags": "bridge.templatetags.desk_tags"}
    plain = Engine(loaders=[texts], libraries=libraries)
    joined = Engine(loaders=[(loader, [texts])], libraries=libraries)

    assert joined.get_template("x").nodelist.get_nodes_by_type(ConstantNode)
    for language in ("ru", "en", "ru"):
        with translation.override(language):
            for values in ({"a": 1, "c": ["<"], "e": "tick"}, {"a": 0, "c": [], "e": "close"}):
                assert joined.get_template("y").render(Context(values)) == plain.get_template("y").render(
                    Context(values)
                )
