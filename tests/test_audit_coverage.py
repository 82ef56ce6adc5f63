"""Every model is audited or exempt with a reason, its triggers are installed, and its secrets are hidden."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from config.audit import triggers
from config.audit.tables import AUDITED, EXEMPT, audited_tables, resolve_table
from config.web.audited_looks import RECORDED_LOOKS
from config.web.route_access import list_routes

SECRET_NAME = re.compile(r"secret|token|password|digest|(^|_)key$|proof|credential", re.IGNORECASE)
# Columns that look secret and are none: their values may be read in the record.
NOT_SECRET: dict[str, set[str]] = {"channels_setup.ApiChannel": {"webhook_needs_key"}}
CLIENT_MODELS = ("bridge.Contact", "bridge.ContactNote", "bridge.HeldReply")
CLIENT_COLUMNS = re.compile(r"text|subject|phone|email|card|payload|body|answer|custom_fields")
# Downloads that record by themselves, or that hold nothing of others.
OTHER_DOWNLOADS = {
    "contacts/export.<slug:file_format>": "records the export with its format",
    "contacts/import/<int:pk>/refused.csv": "rows of the user's own file",
    "chats/<int:pk>/client/export/": "recorded by build_export",
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/export/?$": "recorded by build_export",
    "admin/bridge/contact/<int:pk>/export/": "recorded by build_export",
}


def list_models() -> dict[str, type[models.Model]]:
    return {model._meta.label: model for model in apps.get_models() if not model._meta.proxy}


def test_every_model_is_audited_or_exempt_with_a_reason() -> None:
    assert sorted(set(list_models()) - set(AUDITED) - set(EXEMPT)) == []


def test_no_model_is_both_audited_and_exempt_or_gone() -> None:
    assert set(AUDITED) & set(EXEMPT) == set()
    assert {name for name in EXEMPT if name not in list_models()} == set()
    for name in AUDITED:
        resolve_table(name)


def test_every_many_to_many_field_of_an_audited_model_is_audited() -> None:
    fields = {
        f"{name}.{field.name}"
        for name, model in list_models().items()
        if name in AUDITED
        for field in model._meta.local_many_to_many
    }

    assert sorted(fields - set(AUDITED)) == []


@pytest.mark.parametrize("name", [name for name in AUDITED if name.count(".") == 1])
def test_columns_that_look_secret_are_hidden(name: str) -> None:
    resolved = resolve_table(name)
    rule = resolved.rule
    hidden = set(resolved.columns) if rule.hides_all else {*rule.hidden, *rule.ignored}
    recorded = {*(rule.columns or resolved.columns), *([rule.label] if rule.label else [])}

    looks_secret = {
        column
        for column in recorded
        if SECRET_NAME.search(column) or isinstance(field_of(name, column), models.BinaryField)
    }
    assert looks_secret - hidden - NOT_SECRET.get(name, set()) == set()
    assert rule.label not in hidden
    assert {*rule.columns, *rule.hidden, *rule.urls, *rule.ignored, rule.label} - {""} - set(resolved.columns) == set()


def field_of(name: str, column: str) -> Any:
    return next((field for field in list_models()[name]._meta.concrete_fields if field.column == column), None)


@pytest.mark.parametrize("name", CLIENT_MODELS)
def test_values_of_clients_are_hidden_and_name_no_row(name: str) -> None:
    assert AUDITED[name].hides_all
    assert AUDITED[name].label == ""


@pytest.mark.django_db
def test_the_triggers_of_the_list_are_installed_and_no_others() -> None:
    with connection.cursor() as cursor:
        cursor.execute(triggers.INSTALLED, [triggers.OWN_TRIGGERS])
        installed = {(table, name) for table, name, _mark in cursor.fetchall()}

    wanted = {
        (resolved.table, name)
        for resolved in map(resolve_table, AUDITED)
        for name, _definition in triggers.build_triggers(resolved)
    }
    assert installed == wanted
    assert {table for table, _name in wanted} == set(audited_tables()) - {"audit_record"}


@pytest.mark.django_db
def test_installing_again_changes_nothing_and_repairs_what_is_missing() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_update ON accounts_user")
        cursor.execute(
            "CREATE TRIGGER audit_write AFTER INSERT ON bridge_upload FOR EACH ROW EXECUTE FUNCTION audit_row('{}')"
        )
    triggers.install_triggers()
    with connection.cursor() as cursor:
        cursor.execute(triggers.INSTALLED, [triggers.OWN_TRIGGERS])
        installed = {(table, name) for table, name, _mark in cursor.fetchall()}
    assert ("accounts_user", "audit_update") in installed
    assert ("bridge_upload", "audit_write") not in installed

    statements: list[str] = []
    with connection.execute_wrapper(lambda execute, sql, *rest: (statements.append(sql), execute(sql, *rest))[1]):
        triggers.install_triggers()
    assert not any("TRIGGER " in sql for sql in statements if "pg_trigger" not in sql)


def test_recorded_looks_name_existing_routes() -> None:
    assert set(RECORDED_LOOKS) - {route for route, _pattern in list_routes()} == set()


def test_every_download_is_recorded() -> None:
    downloads = {
        route for route, _pattern in list_routes() if re.search(r"export|download|\.csv|\.zip|\.xlsx|\.json", route)
    }

    assert sorted(downloads - set(RECORDED_LOOKS) - set(OTHER_DOWNLOADS)) == []
