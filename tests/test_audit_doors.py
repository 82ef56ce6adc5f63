"""Every door to keys, exports and chats of others is recorded; auditors read no secret in the record."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from bridge.models import CannedResponse, Contact, Conversation
from channels_setup.models import ApiChannel, Handover
from config.audit import record, triggers
from config.audit.models import AuditRecord
from config.audit.tables import resolve_table
from tests.channel_worlds import make_world
from tests.factories import ApiChannelFactory, ConversationFactory, token_of, vera
from tests.pages import signed_in

pytestmark = pytest.mark.django_db
ADD_CHANNEL = ("channel", "add", "--kind", "acebot", "--name", "WhatsApp", "--chat-channel", "Shop")


def list_shown(action: str = "secret_shown") -> list[str]:
    """Return the types of the objects, oldest first."""
    rows = AuditRecord.objects.filter(action=action).order_by("pk")
    return list(rows.values_list("object_type", flat=True))


def let_time_pass(*, minutes: int = 61, forget: bool = True) -> None:
    """Make all recorded looks older, and forget them in this process."""
    if forget:
        record._recent_looks.clear()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_record DISABLE TRIGGER audit_append_only")
        cursor.execute("UPDATE audit_record SET at = at - make_interval(mins => %s)", [minutes])
        cursor.execute("ALTER TABLE audit_record ENABLE ALWAYS TRIGGER audit_append_only")


# --- what auditors may not see ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        ("https://user:pass@crm.example:8443/hooks/T0/secret-path", "https://crm.example:8443/•••"),
        ("https://crm.example?key=secret", "https://crm.example/•••"),
        ("https://user@crm.example", "https://crm.example/•••"),
        ("https://crm.example/", "https://crm.example/"),
        ("secret", "•••"),
    ],
)
def test_a_redirect_url_is_recorded_as_its_host(url: str, recorded: str) -> None:
    channel = ApiChannelFactory(redirect_url="")
    ApiChannel.objects.filter(pk=channel.pk).update(redirect_url=url)

    found = AuditRecord.objects.filter(object_type="channels_setup.apichannel", action="changed").latest("pk")
    assert found.changes["redirect_url"] == ["", recorded]


def test_the_text_of_a_quick_reply_is_not_recorded() -> None:
    CannedResponse.objects.create(name="Hello", text="Anna, your order 1024 is ready")

    found = AuditRecord.objects.get(object_type="bridge.cannedresponse")
    assert (found.changes["name"], found.changes["text"]) == ([None, "Hello"], [None, "•••"])


# --- keys ------------------------------------------------------------------------------------------------


def test_commands_that_print_keys_and_addresses_are_recorded() -> None:
    call_command(*ADD_CHANNEL, "--redirect-url", "http://127.0.0.1:9/hook", "--company-id", "77")
    assert list_shown() == ["channels_setup.secret", "channels_setup.webhookaddress"]

    call_command("channel", "new-address", "WhatsApp")
    assert list_shown()[2:] == ["channels_setup.webhookaddress"]


def test_the_page_of_a_new_channel_records_all_that_it_shows(client: Client) -> None:
    channel = ApiChannelFactory(kind="acebot")
    channel.issue_secret()
    signed_in(client, vera())
    session = client.session
    session["fresh_key_of"] = channel.pk
    session.save()
    page = reverse("admin:channels_setup_apichannel_change", args=[channel.pk])

    assert channel.webhook_url in client.get(page).content.decode()
    assert channel.webhook_url not in client.get(page).content.decode()
    assert list_shown() == ["channels_setup.secret", "channels_setup.webhookaddress"]


def test_a_hand_over_page_that_is_read_again_later_is_recorded_again(client: Client) -> None:
    _page, token = Handover.prepare(ApiChannelFactory(secret=True))
    client.post(f"/handover/{token}/", {"do": "open"})
    client.get(f"/handover/{token}/")
    assert list_shown("viewed") == ["channels_setup.handover"]

    let_time_pass()
    client.get(f"/handover/{token}/")

    assert list_shown("viewed") == ["channels_setup.handover"] * 2


# --- exports and chats of others -------------------------------------------------------------------------


def test_the_command_that_exports_templates_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("templates", "export")

    assert list_shown("exported") == ["templates_registry.template"]


def test_files_notes_and_held_replies_of_others_are_looks(client: Client) -> None:
    world = make_world("olga")
    admin = vera()
    contact = world["conversation"].contact_id
    paths = [
        f"/api/v1/held-replies/{world['heldreply'].pk}/",
        "/api/v1/held-replies/",
        f"/api/v1/contacts/{contact}/",
        f"/api/v1/contacts/{contact}/notes/",
        f"/files/{world['attachment'].pk}/",
    ]
    signed_in(client, admin)
    headers = token_of(admin)
    for path in paths:
        let_time_pass()
        before = list_shown("viewed").count("bridge.conversation")
        response = client.get(path, headers=headers if path.startswith("/api/") else {})
        assert response.status_code == 200, path
        assert list_shown("viewed").count("bridge.conversation") == before + 1, path


@pytest.mark.django_db(transaction=True)
def test_a_look_that_another_process_recorded_counts_from_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    record._recent_looks.clear()
    record.record_looks("bridge.conversation", [1])
    let_time_pass(minutes=59)  # also a process that remembers nothing
    record.record_looks("bridge.conversation", [1, 2])
    assert len(list_shown("viewed")) == 2

    let_time_pass(minutes=2, forget=False)
    later = time.monotonic() + 120
    monkeypatch.setattr(time, "monotonic", lambda: later)
    record.record_looks("bridge.conversation", [1, 2])

    assert len(list_shown("viewed")) == 3


def test_a_download_by_post_is_recorded(client: Client) -> None:
    signed_in(client, vera())

    assert client.post(reverse("admin:templates_registry_template_export")).status_code == 200

    assert list_shown("exported") == ["templates_registry.template"]


@pytest.mark.parametrize("model", ["contact", "conversation", "deadletter", "heldreply", "message", "ticket"])
def test_lists_of_the_admin_that_quote_clients_are_recorded(client: Client, model: str) -> None:
    make_world("olga")
    signed_in(client, vera())

    assert client.get(reverse(f"admin:bridge_{model}_changelist")).status_code == 200

    assert list_shown("viewed")[-1] == f"bridge.{model}"


# --- migrations ------------------------------------------------------------------------------------------


def test_triggers_leave_out_columns_that_a_later_migration_adds() -> None:
    resolved = resolve_table("bridge.Conversation")
    existing = {(resolved.table, name) for name in resolved.columns if name != "team_id"}

    definitions = dict(triggers.build_triggers(triggers.keep_columns(resolved, existing)))

    assert 'NEW."assignee_id"' in definitions["audit_update"]
    assert 'NEW."team_id"' not in definitions["audit_update"]


def test_migrate_enables_triggers_that_a_restore_switched_off() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_record DISABLE TRIGGER ALL; ALTER TABLE audit_record ENABLE TRIGGER ALL")
        cursor.execute("ALTER TABLE audit_record DISABLE TRIGGER audit_fill")
        cursor.execute("ALTER TABLE auth_group DISABLE TRIGGER audit_update")
    triggers.install_triggers()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname, tgenabled FROM pg_trigger WHERE tgname LIKE 'audit%' AND NOT tgisinternal"
            " AND tgrelid IN ('audit_record'::regclass, 'auth_group'::regclass)"
        )
        modes = dict(cursor.fetchall())
    assert modes == {**triggers.OWN_MODES, "audit_write": "O", "audit_truncate": "O", "audit_update": "O"}


def test_an_erasure_by_the_release_before_marks_the_chats() -> None:
    chat = ConversationFactory(last_text="Hello")
    empty: dict[str, Any] = dict.fromkeys(
        ("external_id", "user_id", "caller_id", "username", "phone", "name", "email"), ""
    )
    with connection.cursor() as cursor:
        Contact.objects.filter(pk=chat.contact_id).update(**empty, tags=[], card={}, erased_at=chat.created_at)
        assert not Conversation.objects.get(pk=chat.pk).is_erased
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as at the commit

    chat.refresh_from_db()
    assert (chat.is_erased, chat.last_text) == (True, "")
