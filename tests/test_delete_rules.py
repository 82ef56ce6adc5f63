"""Deletions in the database by the release before, which does not know the newer tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader

from bridge.models import (
    AutomaticAssignment,
    ChatPin,
    ContactConsent,
    Conversation,
    ConversationNote,
    Macro,
    Notification,
    NotificationSettings,
    Snooze,
)
from tests.factories import ConversationFactory, boris

pytestmark = pytest.mark.django_db
FIRST = ("bridge", "0017_retention_rules")  # the release that had no delete rules in the database
APPS = ("accounts", "bridge", "channels_setup", "templates_registry")
RULES = {models.CASCADE: "c", models.SET_NULL: "n", models.PROTECT: "a"}  # as in pg_constraint.confdeltype
FIND_RULES = """
SELECT k.conrelid::regclass::text, a.attname, k.confdeltype, k.convalidated FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] WHERE k.contype = 'f'
"""


def list_newer_keys() -> Iterator[Any]:
    """Yield the foreign keys of our tables that came after the first release."""
    known = MigrationLoader(None).project_state([FIRST]).models
    for model in apps.get_models(include_auto_created=True):
        owner = model._meta.auto_created or model
        fields: Any = getattr(known.get((owner._meta.app_label, owner._meta.model_name)), "fields", {})
        for field in model._meta.local_fields:
            is_known = bool(fields) if model._meta.auto_created else field.name in fields
            if model._meta.app_label in APPS and field.remote_field and field.db_constraint and not is_known:
                yield field


def test_the_database_follows_the_delete_rules_of_newer_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(FIND_RULES)
        found = {(table, column): (rule, is_valid) for table, column, rule, is_valid in cursor.fetchall()}
    keys = {(field.model._meta.db_table, field.column): field.remote_field.on_delete for field in list_newer_keys()}

    assert len(keys) > 40 and ("bridge_chatpin", "conversation_id") in keys
    assert {key: found[key] for key in keys} == {key: (RULES[rule], True) for key, rule in keys.items()}


def test_the_release_before_deletes_chats_and_users() -> None:
    chat, user = ConversationFactory(), boris()
    notice = Notification.objects.create(user=user, kind="assigned", conversation=chat)
    ChatPin.objects.create(user=user, conversation=chat)
    AutomaticAssignment.objects.create(conversation=chat, user=user)
    Snooze.objects.create(conversation=chat, user=user)
    NotificationSettings.objects.create(user=user)
    ContactConsent.objects.create(contact=chat.contact, recorded_by=user)
    macro = Macro.objects.create(name="m", assign_user=user)
    other = ConversationFactory()
    note = ConversationNote.objects.create(conversation=other, author=user, text="n")

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM bridge_conversation WHERE id = %s", [chat.pk])
        cursor.execute("DELETE FROM bridge_contact WHERE id = %s", [chat.contact_id])
        for table in ("channels_setup_chatchannel_operators", "accounts_user_groups"):
            cursor.execute(f"DELETE FROM {table} WHERE user_id = %s", [user.pk])
        cursor.execute("DELETE FROM accounts_user WHERE id = %s", [user.pk])
    connection.check_constraints()

    for row in (macro, note):
        row.refresh_from_db()
    assert (macro.assign_user, note.author) == (None, None)
    assert not Notification.objects.filter(pk=notice.pk).exists() and not ChatPin.objects.exists()
    assert list(Conversation.objects.all()) == [other]
