"""Looks, exports and sign-ins in the audit record, and what must never be in it."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.apps import apps
from django.core.cache import cache
from django.db import DatabaseError, connection, models, transaction
from django.test import Client
from django.urls import reverse

from bridge.models import ContactNote, Conversation
from channels_setup.models import Handover
from config.accounts import one_time_links
from config.accounts.models import ApiToken
from config.audit import context
from config.audit.models import AuditRecord
from config.audit.tables import AUDITED, resolve_table
from tests.channel_worlds import make_world
from tests.factories import (
    PASSWORD,
    ApiChannelFactory,
    ConversationFactory,
    MessageFactory,
    UserFactory,
    boris,
    token_of,
    vera,
)
from tests.pages import signed_in

pytestmark = pytest.mark.django_db
CHAT = "bridge.conversation"


def list_facts(**conditions: Any) -> list[tuple[str, str, str]]:
    """Return action, type and number of the object of each record, oldest first."""
    rows = AuditRecord.objects.filter(**conditions).order_by("pk")
    return list(rows.values_list("action", "object_type", "object_id"))


# --- chats of others -------------------------------------------------------------------------------------


@pytest.fixture
def chat() -> Conversation:
    conversation = ConversationFactory()
    MessageFactory(conversation=conversation)
    return conversation


def test_a_colleagues_chat_is_recorded_once_an_hour(client: Client, chat: Conversation) -> None:
    colleague = UserFactory()
    operator = boris(chat.chat_channel)
    Conversation.objects.filter(pk=chat.pk).update(assignee=colleague)
    signed_in(client, operator)

    for _ in range(2):
        assert client.get(f"/chats/{chat.pk}/").status_code == 200

    assert list_facts(object_type=CHAT, action="viewed", actor_id=operator.pk) == [("viewed", CHAT, str(chat.pk))]


def test_own_chats_and_unassigned_ones_of_an_operator_are_not_recorded(client: Client, chat: Conversation) -> None:
    operator = boris(chat.chat_channel)
    signed_in(client, operator)
    client.get(f"/chats/{chat.pk}/")
    Conversation.objects.filter(pk=chat.pk).update(assignee=operator)
    client.get(f"/chats/{chat.pk}/")

    assert list_facts(object_type=CHAT, action="viewed") == []


def test_an_admin_who_reads_by_role_is_recorded(client: Client, chat: Conversation) -> None:
    signed_in(client, vera())
    client.get(f"/chats/{chat.pk}/")

    assert list_facts(object_type=CHAT, action="viewed") == [("viewed", CHAT, str(chat.pk))]


def test_a_file_of_a_chat_read_by_role_is_recorded(client: Client) -> None:
    world = make_world("a")
    path = f"/files/{world['attachment'].pk}/"
    for user, looks in ((world.operator, 0), (vera(), 1)):
        assert signed_in(client, user).get(path).status_code == 200
        assert len(list_facts(object_type=CHAT, object_id=world["conversation"].pk, action="viewed")) == looks


def test_held_replies_read_by_the_api_are_recorded(client: Client) -> None:
    world = make_world("a")

    assert client.get("/api/v1/held-replies/", headers=token_of(vera())).status_code == 200

    assert list_facts(object_type=CHAT, action="viewed") == [("viewed", CHAT, str(world["conversation"].pk))]


@pytest.mark.parametrize("path", ["messages/?chat_id={chat}", "messages/{message}/", "conversations/{chat}/"])
def test_chats_read_by_the_api_are_recorded(client: Client, chat: Conversation, path: str) -> None:
    token, text = ApiToken.issue(vera(), name="CRM")
    path = path.format(chat=chat.pk, message=chat.messages.get().pk)

    assert client.get(f"/api/v1/{path}", headers={"authorization": f"Token {text}"}).status_code == 200

    (record,) = AuditRecord.objects.filter(object_type=CHAT, action="viewed")
    assert (record.object_id, record.token_id, record.source) == (str(chat.pk), token.pk, "api")


def test_a_chat_of_another_channel_is_not_found_and_not_recorded(client: Client, chat: Conversation) -> None:
    signed_in(client, boris(ApiChannelFactory().default_chat_channel))

    assert client.get(f"/chats/{chat.pk}/").status_code == 404
    assert list_facts(object_type=CHAT, action="viewed") == []


# --- secrets, raw data, exports --------------------------------------------------------------------------


def test_pages_of_raw_data_and_exports_are_recorded(client: Client) -> None:
    world = make_world("olga")
    signed_in(client, vera())
    pages = {
        reverse("admin:bridge_webhookevent_change", args=[world["webhookevent"].pk]): ("viewed", "bridge.webhookevent"),
        reverse("admin:bridge_message_change", args=[world["message"].pk]): ("viewed", "bridge.message"),
        reverse("admin:bridge_delivery_change", args=[world["delivery"].pk]): ("viewed", "bridge.delivery"),
        reverse("phone", args=[world.api_channel.pk]): ("viewed", "channels_setup.apichannel"),
        f"{reverse('missed-windows-csv')}?days=30": ("exported", "bridge.servicewindow"),
        reverse("admin:templates_registry_template_export"): ("exported", "templates_registry.template"),
    }
    for path, expected in pages.items():
        assert client.get(path).status_code == 200, path
        action, object_type, number = list_facts()[-1]
        assert (action, object_type) == expected
        assert action == "exported" or number in path


@pytest.mark.parametrize("button", ["show-key", "show-address", "new-address", "hand-over"])
def test_shown_secrets_are_recorded_without_their_values(client: Client, button: str) -> None:
    channel = ApiChannelFactory(secret=True, kind="acebot")
    signed_in(client, vera())

    client.post(reverse("admin:channels_setup_apichannel_action", args=[channel.pk, button]))

    action, _type, number = next(fact for fact in reversed(list_facts()) if fact[0] in ("secret_shown", "link_created"))
    assert action == ("link_created" if button == "hand-over" else "secret_shown")
    assert number


def test_an_opened_hand_over_page_is_recorded_with_the_address(client: Client) -> None:
    page, token = Handover.prepare(ApiChannelFactory(secret=True))

    client.post(f"/handover/{token}/", {"do": "open"})

    record = AuditRecord.objects.get(action="viewed", object_type="channels_setup.handover")
    assert (record.object_id, record.actor, record.address) == (str(page.pk), "", "127.0.0.1")
    assert token not in str(list(AuditRecord.objects.values()))


def test_one_time_links_and_new_tokens_are_recorded_without_their_values() -> None:
    user = UserFactory()
    link = one_time_links.password_link(user)
    token, text = ApiToken.issue(user, name="CRM")

    assert list_facts(action="link_created") == [("link_created", "accounts.user", str(user.pk))]
    assert list_facts(action="secret_shown") == [("secret_shown", "accounts.apitoken", str(token.pk))]
    stored = str(list(AuditRecord.objects.values()))
    assert text not in stored and link.rstrip("/").rpartition("/")[2] not in stored


# --- sign-ins --------------------------------------------------------------------------------------------


def test_sign_in_and_sign_out_are_recorded(client: Client) -> None:
    user = UserFactory(username="olga")

    client.post("/login/", {"username": "olga", "password": PASSWORD})
    client.post("/logout/")

    names = ["signed_in", "signed_out"]
    records = list(AuditRecord.objects.filter(action__in=names).order_by("pk"))
    assert [record.action for record in records] == names
    assert {(record.actor_id, record.object_id, record.address) for record in records} == {
        (user.pk, str(user.pk), "127.0.0.1")
    }
    assert records[0].details == {"methods": ["password"]}


@pytest.mark.parametrize(("typed", "label"), [("olga", "olga"), ("korabl-i-more-7", "•••"), ("", "")])
def test_a_failed_sign_in_names_only_users_that_exist(client: Client, typed: str, label: str) -> None:
    UserFactory(username="olga")
    client.post("/login/", {"username": typed, "password": "wrong-91-password"})

    failed = list(AuditRecord.objects.filter(action="sign_in_failed"))
    assert [record.object_label for record in failed] == ([label] if typed else [])
    assert "wrong-91" not in str(list(AuditRecord.objects.values()))


def test_a_locked_name_is_recorded(client: Client) -> None:
    UserFactory(username="olga")
    for _ in range(6):
        client.post("/login/", {"username": "olga", "password": "wrong"})

    assert AuditRecord.objects.filter(action="locked_out", object_label="olga").exists()


def test_second_factors_and_recovery_codes_are_recorded(client: Client) -> None:
    cache.clear()
    user = UserFactory(username="olga")
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(user, secret)
    codes = RecoveryCodes.activate(user).get_unused_codes()
    address = client.post("/login/", {"username": "olga", "password": PASSWORD}).headers["Location"]

    client.post(address, {"code": "000000"})
    client.post(address, {"code": codes[0]})

    actions = [fact[0] for fact in list_facts(object_type="accounts.user", object_id=str(user.pk))]
    assert actions[-3:] == ["second_factor_failed", "recovery_code_used", "signed_in"]
    stored = str(list(AuditRecord.objects.values()))
    assert secret not in stored and codes[0] not in stored


# --- words of clients ------------------------------------------------------------------------------------

CANARY = "zq-canary-7731"
# Chosen from lists, not written by clients.
CHOSEN = {"priority", "type", "status", "state"}


def test_no_column_of_a_client_reaches_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a canary into each text column of the tables about clients, as a person would, and delete the rows."""
    make_world("olga")
    monkeypatch.setattr(context, "_process", {"source": "command", "actor": "root"})
    before = AuditRecord.objects.count()
    tables = [resolve_table(name) for name, rule in AUDITED.items() if rule.people_only]
    for resolved in tables:
        model = apps.get_model(resolved.object_type)
        for field in model._meta.concrete_fields:
            if field.column not in CHOSEN:
                write_canary(resolved.table, field)
        try_statement(f'DELETE FROM "{resolved.table}"')

    stored = list(AuditRecord.objects.values("object_type", "object_label", "changes", "details"))
    assert AuditRecord.objects.count() > before + 5
    assert [row for row in stored if CANARY in str(row)] == []


def write_canary(table: str, field: Any) -> None:
    values = {
        models.JSONField: f"""'{{"a": "{CANARY}"}}'""",
        models.CharField: f"'{CANARY}'",
        models.TextField: f"'{CANARY}'",
    }
    for kind, value in values.items():
        if isinstance(field, kind):
            try_statement(f'UPDATE "{table}" SET "{field.column}" = {value}')
    if field.get_internal_type() == "ArrayField":
        try_statement(f"""UPDATE "{table}" SET "{field.column}" = ARRAY['{CANARY}']""")


def try_statement(sql: str) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    except DatabaseError:  # a constraint or a foreign key
        pass


def test_edits_of_a_client_by_desk_and_api_are_recorded_without_words(client: Client) -> None:
    chat = ConversationFactory(name=CANARY)
    operator = boris(chat.chat_channel)
    _token, text = ApiToken.issue(operator, name="CRM")
    signed_in(client, operator)
    client.post(f"/chats/{chat.pk}/client/notes/", {"note": CANARY})
    client.post(f"/chats/{chat.pk}/client/tags/", {"add": CANARY})
    client.patch(
        f"/api/v1/contacts/{chat.contact_id}/",
        {"name": f"{CANARY} 2", "phone": "+7 900 555-01-77"},
        content_type="application/json",
        headers={"authorization": f"Token {text}"},
    )

    assert ContactNote.objects.filter(text=CANARY).exists()
    facts = set(list_facts(actor_id=operator.pk))
    assert ("changed", "bridge.contact", str(chat.contact_id)) in facts
    assert any(kind == ("created", "bridge.contactnote") for kind in {fact[:2] for fact in facts})
    stored = str(list(AuditRecord.objects.values()))
    assert CANARY not in stored and "5550177" not in stored


# --- the list --------------------------------------------------------------------------------------------


def test_the_list_is_found_filtered_and_read_only(client: Client) -> None:
    admin = vera()
    signed_in(client, admin)
    field = f"Field {CANARY}"
    client.post(reverse("admin:bridge_ticketfield_add"), {"name": field, "kind": "1"})
    address = reverse("admin:audit_auditrecord_changelist")
    record = AuditRecord.objects.get(object_type="bridge.ticketfield")

    for query in ("", f"?user={admin.pk}", "?action=created", "?object=bridge.ticketfield", f"?q={record.object_id}"):
        page = client.get(address + query)
        assert page.status_code == 200 and field in page.content.decode(), query
    assert field not in client.get(f"{address}?action=exported").content.decode()
    change = reverse("admin:audit_auditrecord_change", args=[record.pk])
    assert "/admin/bridge/ticketfield/add/" in client.get(change).content.decode()
    assert client.post(change, {"actor": "x"}).status_code == 403
    assert client.post(reverse("admin:audit_auditrecord_delete", args=[record.pk])).status_code == 403


def test_an_operator_cannot_read_the_record(client: Client) -> None:
    signed_in(client, boris())

    assert client.get(reverse("admin:audit_auditrecord_changelist")).status_code == 302
