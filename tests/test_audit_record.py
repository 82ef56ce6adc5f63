"""The audit record: every change by triggers, with who and from where; append-only; secrets masked."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from channels_setup.models import ApiChannel, ChatChannel
from config.accounts.models import ApiToken, User
from config.audit import context
from config.audit.models import AuditRecord
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ConversationFactory,
    TemplateFactory,
    TicketFactory,
    UserFactory,
    vera,
)
from tests.pages import signed_in

pytestmark = pytest.mark.django_db


def list_records(object_type: str = "", **conditions: Any) -> list[AuditRecord]:
    """Return the records, oldest first."""
    if object_type:
        conditions["object_type"] = object_type
    return list(AuditRecord.objects.filter(**conditions).order_by("pk"))


# --- changes --------------------------------------------------------------------------------------------


def test_a_bulk_update_is_recorded_with_the_values_before_and_after() -> None:
    channel = ChatChannelFactory(name="Sales")

    ChatChannel.objects.filter(pk=channel.pk).update(name="Support")

    record = list_records("channels_setup.chatchannel")[-1]
    assert (record.action, record.object_id, record.object_label) == ("changed", str(channel.pk), "Support")
    assert record.changes == {"name": ["Sales", "Support"]}


def test_creation_and_deletion_are_recorded_with_the_values() -> None:
    field = Group.objects.create(name="Night shift")
    number = str(field.pk)
    field.delete()

    created, deleted = list_records("auth.group", object_id=number)
    assert (created.action, created.changes["name"]) == ("created", [None, "Night shift"])
    assert (deleted.action, deleted.changes["name"]) == ("deleted", ["Night shift", None])


def test_a_many_to_many_change_is_a_change_of_the_object() -> None:
    channel, user = ChatChannelFactory(), UserFactory()
    channel.operators.add(user)
    channel.operators.remove(user)

    added, removed = list_records("channels_setup.chatchannel", object_id=str(channel.pk), action="changed")
    assert added.changes == {"operators": [None, user.pk]}
    assert removed.changes == {"operators": [user.pk, None]}


def test_an_update_of_counters_and_states_alone_is_not_recorded() -> None:
    user, template, channel = UserFactory(), TemplateFactory(), ApiChannelFactory()
    before = len(list_records())

    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    type(template).objects.filter(pk=template.pk).update(times_used=7, last_used_at=timezone.now())
    ApiChannel.objects.filter(pk=channel.pk).update(last_error="refused", last_error_at=timezone.now())

    assert len(list_records()) == before


def test_secrets_are_recorded_as_changed_without_their_values() -> None:
    user = UserFactory()
    user.set_password("other-korabl-77")
    user.save()
    channel = ApiChannelFactory(secret=True)
    ApiChannel.objects.filter(pk=channel.pk).update(
        redirect_url="https://user:pass-91@crm.example/hook?api_token=token-91",
        options={"app_secret": "secret-91", "D360-Api-Key": "key-91", "base_url": "https://a.example/?t=token-91"},
    )

    assert list_records("accounts.user")[-1].changes == {"password": ["•••", "•••"]}
    assert list_records("channels_setup.secret")[-1].changes["token"] == [None, "•••"]
    changes = list_records("channels_setup.apichannel")[-1].changes
    assert changes["redirect_url"][1] == "https://crm.example/•••"
    assert changes["options"][1] == {
        "app_secret": "•••",
        "D360-Api-Key": "•••",
        "base_url": "https://a.example/?t=•••",
    }


def test_a_long_value_is_cut_and_the_row_is_still_written() -> None:
    channel = ChatChannelFactory()
    ChatChannel.objects.filter(pk=channel.pk).update(options={"note": "ы" * 5000})

    value = list_records("channels_setup.chatchannel")[-1].changes["options"][1]
    assert 2000 < len(value) < 2010


# --- who ------------------------------------------------------------------------------------------------


def test_a_change_in_the_browser_names_user_route_and_address(client: Client) -> None:
    admin = vera()
    channel = ChatChannelFactory(name="Sales")
    signed_in(client, admin)

    client.get("/", headers={"x-forwarded-for": "198.51.100.9", "user-agent": "Firefox\x00 " + "x" * 400})
    response = client.post(
        reverse("admin:channels_setup_chatchannel_change", args=[channel.pk]),
        {
            **{"name": "Support", "kind": channel.kind, "company_id": channel.company_id, "work_weekends": "on"},
            **{"automation-TOTAL_FORMS": "0", "automation-INITIAL_FORMS": "0"},
            **{"assigns_answerer": "on", "recognizes_opt_outs": "on"},
        },
        headers={"x-forwarded-for": "198.51.100.9", "user-agent": "Firefox"},
    )

    assert response.status_code == 302
    record = list_records("channels_setup.chatchannel", object_id=str(channel.pk), action="changed")[-1]
    assert record.changes == {"name": ["Sales", "Support"]}
    assert (record.source, record.actor, record.actor_id) == ("web", admin.username, admin.pk)
    assert record.route == "/admin/channels_setup/chatchannel/<path:object_id>/change/"
    assert (record.address, record.user_agent) == ("127.0.0.1", "Firefox")
    assert record.request_id


def test_a_change_by_the_api_names_the_token(client: Client) -> None:
    admin = vera()
    conversation = ConversationFactory()
    token, text = ApiToken.issue(admin, name="CRM")

    response = client.post(
        f"/api/v1/conversations/{conversation.pk}/assign/",
        {"user_id": admin.pk},
        content_type="application/json",
        headers={"authorization": f"Token {text}"},
    )

    assert response.status_code == 200
    (record,) = list_records("bridge.conversation", action="changed")
    assert record.changes == {"assignee_id": [None, admin.pk]}
    assert (record.source, record.actor_id, record.token_id) == ("api", admin.pk, token.pk)


def test_a_command_names_itself_and_the_system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_process", None)
    context.set_command(["manage.py", "--verbosity=2", "user", "add", "--password", "secret-91"])

    UserFactory(username="olga")

    record = list_records("accounts.user")[-1]
    assert (record.source, record.route, bool(record.actor)) == ("command", "manage.py user", True)


def test_a_worker_is_named_where_it_changes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_process", {"source": "worker"})

    template = TemplateFactory()
    type(template).objects.filter(pk=template.pk).update(status="paused")

    record = list_records("templates_registry.template")[-1]
    assert (record.source, record.actor) == ("worker", "")


@pytest.mark.django_db(transaction=True)
def test_a_database_client_is_named_by_its_database_user() -> None:
    ticket = TicketFactory()
    before = len(list_records())
    parameters = connection.get_connection_params() | {"application_name": "psql"}
    with closing(psycopg2.connect(**parameters)) as client, client, client.cursor() as cursor:
        cursor.execute("UPDATE channels_setup_chatchannel SET name = 'By hand'")
        cursor.execute("UPDATE bridge_ticket SET status = 3 WHERE id = %s", [ticket.pk])
        cursor.execute("SELECT session_user")
        user = cursor.fetchone()[0]

    first, second = list_records()[before:]
    assert (first.object_type, first.changes["name"][1]) == ("channels_setup.chatchannel", "By hand")
    assert {(one.source, one.actor, one.user_agent) for one in (first, second)} == {("database", user, "psql")}
    assert second.changes == {"status": [ticket.status, 3]}


@pytest.mark.parametrize("sql", ["UPDATE auth_group SET name = name || '%'", "UPDATE auth_group SET name = %s"])
def test_statements_with_and_without_parameters_carry_the_context(sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        context, "_process", {"source": "command", "actor": "o'neil %s %(x)s \\ \ud800\0", "route": "%"}
    )
    Group.objects.all().delete()
    Group.objects.create(name="One")

    with connection.cursor() as cursor:
        cursor.execute(sql, ["One%"] if "%s" in sql else None)

    record = list_records("auth.group")[-1]
    assert record.changes == {"name": ["One", "One%"]}
    assert (record.actor, record.route) == ("o'neil %s %(x)s \\ ?", "%")


def test_the_message_flow_is_not_recorded_and_sends_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    ticket, user = TicketFactory(), UserFactory()
    monkeypatch.setattr(context, "_process", {"source": "worker"})
    before = len(list_records())

    with connection.execute_wrapper(lambda execute, sql, *rest: (statements.append(sql), execute(sql, *rest))[1]):
        statements: list[str] = []
        type(ticket).objects.filter(pk=ticket.pk).update(status=2, assignee=user)
        type(ticket.conversation).objects.update(assignee=user)

    assert len(list_records()) == before
    assert len(statements) == 2
    assert not any("okno.audit" in sql for sql in statements)


def test_nobody_can_write_a_record_in_the_name_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_process", None)
    record = AuditRecord.objects.create(
        action="viewed", actor="vera", actor_id=1, source="web", address="8.8.8.8", at=timezone.now().replace(year=2001)
    )
    record.refresh_from_db()

    assert record.at.year != 2001
    assert (record.actor_id, record.source) == (None, "database")
    assert record.actor != "vera" and record.address != "8.8.8.8"


# --- append-only ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_record SET actor = 'x'",
        "DELETE FROM audit_record",
        "TRUNCATE audit_record",
        "SET LOCAL session_replication_role = replica; DELETE FROM audit_record",
        "SET LOCAL okno.audit_prune = 'yes'; DELETE FROM audit_record",
        "SELECT audit_prune(364)",
    ],
)
def test_records_cannot_be_changed_or_deleted(statement: str) -> None:
    ChatChannelFactory()
    before = len(list_records())

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert len(list_records()) == before > 0


def test_old_records_are_deleted_through_one_function_only() -> None:
    ChatChannelFactory()
    kept = len(list_records())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # keeps the given time
        cursor.execute(
            "INSERT INTO audit_record (at, action) SELECT now() - make_interval(days => days), 'viewed'"
            " FROM unnest(ARRAY[400, 500]) days"
        )
        cursor.execute("SET LOCAL session_replication_role = origin")
        cursor.execute("SELECT audit_prune(450)")
        assert cursor.fetchone() == (1,)

    assert len(list_records()) == kept + 2
    assert list_records()[-1].details == {"rows": 1, "older_than_days": 450}
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_record WHERE at < now() - interval '390 days'")
