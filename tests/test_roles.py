"""Roles: the table of permissions, giving a role to a user, and what changes for the user."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.conversations import assignments, tickets
from bridge.models import Conversation, Ticket
from channels_setup import roles
from channels_setup.models import ChatChannel
from channels_setup.permissions import ASSIGN_ANY_CHAT, VIEW_ALL_CHATS, VIEW_CHATS, VIEW_REPORTS, users_with
from channels_setup.roles import Role, assign_role
from config.accounts import role_settings, second_factor
from tests.factories import ConversationFactory, TicketFactory, UserFactory, token_of, vera
from tests.pages import page_html, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
User = get_user_model()
# Models that hold no word, name or phone of a client: an auditor may view these only.
SETTINGS = {
    *("channels_setup.apichannel", "channels_setup.chatchannel", "channels_setup.team"),
    *("templates_registry.template", "templates_registry.templatetags", "bridge.ticketfield", "bridge.contactfield"),
    "bridge.retentionrule",
    *("accounts.user", "accounts.apitoken", "accounts.serviceaccount", "auth.group", "audit.auditrecord"),
}


def permissions_of(group: Group) -> set[str]:
    return {f"{one.content_type.app_label}.{one.codename}" for one in group.permissions.select_related("content_type")}


def person(role: Role | None, *chat_channels: ChatChannel, name: str = "") -> Any:
    user = UserFactory(username=name or (role.value if role else "nobody"))
    assign_role(user, role=role, chat_channels=chat_channels)
    return user


@pytest.fixture
def chat() -> Conversation:
    found: Conversation = ConversationFactory()
    TicketFactory(conversation=found)
    return found


@pytest.fixture
def olga(chat: Conversation) -> Any:
    """The operator whose chat it is."""
    user = person(Role.OPERATOR, chat.chat_channel, name="olga")
    tickets.assign_chat(chat.pk, user_id=user.pk)
    return user


# --- the table ---------------------------------------------------------------------------------------------


def test_the_groups_have_exactly_the_permissions_of_the_table() -> None:
    permissions = Permission.objects.select_related("content_type")
    every = {f"{one.content_type.app_label}.{one.codename}" for one in permissions}

    for role in Role:
        held = permissions_of(Group.objects.get(name=role.label))
        assert held == {name for name in every if roles.has_role_permission(role, permission=name)}
        named = {pattern for pattern in roles.ROLE_PERMISSIONS[role] if "*" not in pattern}
        assert named <= held, f"{role}: unknown permissions {named - held}"


def test_synchronizing_removes_what_a_role_lost_and_keeps_other_groups() -> None:
    operators, extra = Group.objects.get(name="Operator"), Permission.objects.get(codename="erase_contact")
    operators.permissions.add(extra)
    own = Group.objects.create(name="May erase")
    own.permissions.add(extra)

    roles.sync_groups()

    assert extra not in operators.permissions.all() and list(own.permissions.all()) == [extra]


def test_supervisors_extend_operators_and_auditors_view_settings_only() -> None:
    held = {role: permissions_of(Group.objects.get(name=role.label)) for role in Role}

    assert held[Role.OPERATOR] < held[Role.SUPERVISOR] < held[Role.ADMIN]
    assert held[Role.SUPERVISOR] - held[Role.OPERATOR] >= {VIEW_REPORTS, ASSIGN_ANY_CHAT}
    assert VIEW_ALL_CHATS not in held[Role.SUPERVISOR]
    for name in held[Role.AUDITOR]:
        app, _dot, codename = name.partition(".")
        assert codename.startswith("view_") and f"{app}.{codename.removeprefix('view_')}" in SETTINGS, name


# --- who sees which chats ----------------------------------------------------------------------------------


def test_the_sql_of_assignments_and_the_query_set_agree_on_who_sees_a_chat(chat: Conversation) -> None:
    condition = assignments.can_answer_condition("u_id")
    people = []
    for number, (role, is_member, flags) in enumerate(
        itertools.product([*Role, None], (True, False), ({}, {"is_superuser": True}, {"is_active": False}))
    ):
        user = person(role, name=f"p{number}")
        if is_member:
            chat.chat_channel.operators.add(user)  # also an auditor, by a mistake that the desk must survive
        User.objects.filter(pk=user.pk).update(**flags) if flags else None
        people.append(User.objects.get(pk=user.pk))

    for user in people:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {condition} FROM bridge_conversation c, (SELECT %s AS u_id) x WHERE c.id = %s",
                [user.pk, chat.pk],
            )
            by_sql = cursor.fetchone()[0]
        visible = user.is_active and Conversation.objects.all().visible_to(user).filter(pk=chat.pk).exists()
        assert by_sql == visible, (user.username, user.is_superuser, user.is_active)
        assert (VIEW_CHATS in user.get_all_permissions()) == (user.is_active and user in users_with(VIEW_CHATS))


@pytest.mark.parametrize("role", [Role.AUDITOR, None])
def test_without_a_chat_role_nothing_of_the_desk_opens(role: Role | None, chat: Conversation, client: Client) -> None:
    user = person(role)
    chat.chat_channel.operators.add(user)
    signed_in(client, user)

    for address in ("/chats/", f"/chats/{chat.pk}/", "/requests/", "/windows/", "/templates/", "/chats/updates/"):
        assert client.get(address).status_code == 403, address
    assert client.get("/api/v1/conversations/", headers=token_of(user)).status_code == 403
    assert client.get("/account/").status_code == 200
    if role:
        assert client.get("/", follow=True).redirect_chain == [("/admin/", 302)]
        assert client.get("/api/v1/channels/", headers=token_of(user)).json()["results"]
        assert 'href="/chats/"' not in page_html(client, "/account/")


# --- assignments -------------------------------------------------------------------------------------------


def assign_in_desk(client: Client, chat: Conversation, user_id: int | None) -> None:
    client.post(f"/chats/{chat.pk}/assign/", {"user": user_id or ""})


def assign_in_table(client: Client, chat: Conversation, user_id: int | None) -> None:
    ticket = Ticket.objects.get(conversation=chat)
    client.post("/requests/change/", {"ticket": [ticket.pk], "assign": "1", "assignee": user_id or ""})


def assign_by_api(client: Client, chat: Conversation, user_id: int | None) -> None:
    user = User.objects.get(pk=client.session["_auth_user_id"])
    answer = client.post(
        f"/api/v1/conversations/{chat.pk}/assign/",
        json.dumps({"user_id": user_id}),
        content_type="application/json",
        headers=token_of(user),
    )
    assert answer.status_code in (200, 403)
    assert answer.status_code == 200 or answer.json()["reason"] == "not_assignable"


WAYS = {"desk": assign_in_desk, "table": assign_in_table, "API": assign_by_api}
HAND_ON: dict[Role, set[tuple[str, str]]] = {
    # (whose chat it is, who gets it)
    Role.OPERATOR: {("nobody", "me"), ("nobody", "third"), ("me", "third"), ("me", "nobody"), ("colleague", "me")},
}
HAND_ON[Role.SUPERVISOR] = HAND_ON[Role.ADMIN] = HAND_ON[Role.OPERATOR] | {
    ("colleague", "third"),
    ("colleague", "nobody"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", HAND_ON)
def test_who_may_assign_a_chat_to_whom(role: Role, way: str, chat: Conversation, olga: Any, client: Client) -> None:
    me = person(role, chat.chat_channel, name="me")
    third = person(Role.OPERATOR, chat.chat_channel, name="third")
    people = {"nobody": None, "me": me.pk, "third": third.pk, "colleague": olga.pk}
    signed_in(client, me)

    for before, after in itertools.permutations(people, 2):
        if after == "colleague" or before == "third":
            continue
        tickets.assign_chat(chat.pk, user_id=people[before])

        WAYS[way](client, chat, people[after])

        chat.refresh_from_db()
        moved = (before, after) in HAND_ON[role]
        assert chat.assignee_id == people[after if moved else before], (before, after)
        assert Ticket.objects.get(conversation=chat).assignee_id == chat.assignee_id


def test_the_menu_offers_only_what_is_allowed(chat: Conversation, olga: Any, client: Client) -> None:
    me = person(Role.OPERATOR, chat.chat_channel, name="me")
    third = person(Role.OPERATOR, chat.chat_channel, name="third")
    person(Role.AUDITOR, name="audit")
    chat.chat_channel.operators.add(User.objects.get(username="audit"))
    signed_in(client, me)

    html = page_html(client, f"/chats/{chat.pk}/")
    assert f'name="user" value="{me.pk}"' in html and f'name="user" value="{third.pk}"' not in html
    assert 'name="user" value=""' not in html and "Only a supervisor" in html

    assign_role(me, role=Role.SUPERVISOR)
    html = page_html(client, f"/chats/{chat.pk}/")
    assert f'name="user" value="{third.pk}"' in html and 'name="user" value=""' in html
    assert "audit" not in html


# --- changing the role -------------------------------------------------------------------------------------


def open_session(user: Any) -> Client:
    client = signed_in(Client(), user)
    UserSession.objects.create(
        user=user, ip="198.51.100.7", session_key=client.session.session_key, user_agent="x", created_at=timezone.now()
    )
    return client


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (Role.OPERATOR, Role.SUPERVISOR, True),
        (Role.SUPERVISOR, Role.ADMIN, True),
        (Role.SUPERVISOR, Role.OPERATOR, False),
        (Role.ADMIN, Role.SUPERVISOR, False),
        (Role.OPERATOR, Role.AUDITOR, False),
        (Role.AUDITOR, Role.OPERATOR, False),
        (Role.OPERATOR, None, False),
    ],
)
def test_fewer_permissions_end_the_sessions(before: Role, after: Role | None, stays: bool, chat: Conversation) -> None:
    user = person(before, *([chat.chat_channel] if before != Role.AUDITOR else []))
    client = open_session(user)

    assign_role(User.objects.get(pk=user.pk), role=after)

    assert (client.get("/account/").status_code == 200) == stays


def test_an_auditor_gives_up_chats_channels_and_teams(
    chat: Conversation, olga: Any, django_capture_on_commit_callbacks: Any
) -> None:
    assign_role(olga, role=Role.AUDITOR)
    assignments.release_lost_assignments()

    chat.refresh_from_db()
    assert chat.assignee_id is None and Ticket.objects.get(conversation=chat).assignee_id is None
    assert not olga.chat_channels.exists() and olga.is_staff and not olga.is_superuser


def test_a_supervisor_keeps_the_chats_of_the_chosen_channels_only(chat: Conversation) -> None:
    admin = person(Role.ADMIN)
    other = ConversationFactory()
    for each in (chat, other):
        tickets.assign_chat(each.pk, user_id=admin.pk)

    assign_role(admin, role=Role.SUPERVISOR, chat_channels=[chat.chat_channel])
    assignments.release_lost_assignments()

    chat.refresh_from_db()
    other.refresh_from_db()
    assert (chat.assignee_id, other.assignee_id) == (admin.pk, None)


def test_the_command_changes_the_role(chat: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("user", "add", "lena", "--role", "supervisor", "--chat-channel", str(chat.chat_channel_id))
    lena = User.objects.get(username="lena")
    assert Role.of_user(lena) == Role.SUPERVISOR and not lena.is_staff

    call_command("user", "role", "lena", "auditor")
    assert Role.of_user(User.objects.get(pk=lena.pk)) == Role.AUDITOR

    call_command("user", "role", "lena", "none")
    lena = User.objects.get(pk=lena.pk)
    assert Role.of_user(lena) is None and not lena.is_staff and not lena.get_all_permissions()
    with pytest.raises(CommandError, match="no user"):
        call_command("user", "role", "nobody", "admin")
    with pytest.raises(CommandError, match="auditor sees no chats"):
        call_command("user", "add", "o", "--role", "auditor", "--chat-channel", str(chat.chat_channel_id))
    assert "auditor" in capsys.readouterr().out.lower()


def test_an_export_carries_every_role(chat: Conversation, tmp_path: Path) -> None:
    for role in [*Role, None]:
        person(role, *([chat.chat_channel] if role in (Role.SUPERVISOR, Role.OPERATOR) else []))
    file = tmp_path / "users.json"
    call_command("user", "export", str(file))
    data = json.loads(file.read_text())
    data["groups"] = [{"name": "Auditor", "permissions": ["bridge.view_message"]}]  # of another version
    file.write_text(json.dumps(data))
    sessions = {user.pk: open_session(user) for user in User.objects.filter(username__in=Role.values)}

    call_command("user", "import", str(file))
    assert all(client.get("/account/").status_code == 200 for client in sessions.values())
    User.objects.all().delete()
    call_command("user", "import", str(file))

    for role in Role:
        user = User.objects.get(username=role.value)
        assert (Role.of_user(user), user.is_staff) == (role, role in roles.STAFF_ROLES)
        assert user.chat_channels.count() == (role in (Role.SUPERVISOR, Role.OPERATOR))
        assert not user.has_perm("bridge.view_message") or role != Role.AUDITOR
    assert Role.of_user(User.objects.get(username="nobody")) is None


def test_the_admin_lists_filters_and_sets_roles(chat: Conversation, client: Client) -> None:
    signed_in(client, vera())
    for role in (Role.SUPERVISOR, Role.OPERATOR, Role.AUDITOR):
        person(role)
    found = page_html(client, "/admin/accounts/user/?role=auditor")
    assert ">auditor<" in found and ">supervisor<" not in found
    assert ">supervisor<" in page_html(client, "/admin/accounts/user/?role=supervisor")

    operator = User.objects.get(username="operator")
    page = f"/admin/accounts/user/{operator.pk}/change/"
    form = {"username": "operator", "role": "supervisor", "chat_channels": [chat.chat_channel_id], "is_active": "on"}
    assert client.post(page, form).status_code == 302
    assert Role.of_user(User.objects.get(pk=operator.pk)) == Role.SUPERVISOR
    assert list(operator.chat_channels.all()) == [chat.chat_channel]
    assert client.post(page, form | {"role": "auditor"}).status_code == 302
    assert Role.of_user(User.objects.get(pk=operator.pk)) == Role.AUDITOR and not operator.chat_channels.exists()
    assert client.post(page, form | {"role": "boss"}).status_code == 200


def test_an_auditor_sees_no_password_hash_and_no_link_to_the_chats(client: Client) -> None:
    operator = person(Role.OPERATOR)
    operator.set_password("correct-Horse-battery")
    operator.save()
    signed_in(client, person(Role.AUDITOR))
    found = page_html(client, f"/admin/accounts/user/{operator.pk}/change/")
    assert ">operator<" in found and "pbkdf2" not in found
    missing = client.get("/no/such/page/").content.decode()
    assert 'href="/account/"' in missing and 'href="/chats/"' not in missing


def test_a_superuser_saving_a_user_keeps_the_role_and_the_session(client: Client) -> None:
    signed_in(client, UserFactory(username="root", is_superuser=True, is_staff=True))
    operator, extra = person(Role.OPERATOR), Group.objects.create(name="extra")
    session = open_session(operator)

    form = {"username": "operator", "role": "operator", "is_active": "on", "groups": [extra.pk]}
    assert client.post(f"/admin/accounts/user/{operator.pk}/change/", form).status_code == 302

    assert {group.name for group in operator.groups.all()} == {"Operator", "extra"}
    assert session.get("/account/").status_code == 200


def test_nobody_edits_the_groups_of_roles_by_hand(client: Client) -> None:
    signed_in(client, UserFactory(username="root", is_superuser=True, is_staff=True))
    group = Group.objects.get(name="Auditor")
    held = permissions_of(group)

    client.post(f"/admin/auth/group/{group.pk}/change/", {"name": "Auditor", "permissions": []})
    client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    client.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"})

    assert permissions_of(Group.objects.get(name="Auditor")) == held


@pytest.mark.parametrize("role", Role)
def test_a_second_factor_can_be_required_of_every_role(role: Role, settings: Any) -> None:
    settings.SECOND_FACTOR_ROLES = [role.value]

    assert [one for one in Role if second_factor.is_required(person(one))] == [role]


def test_a_setting_with_an_unknown_role_is_an_error(settings: Any) -> None:
    settings.OIDC_GROUP_ROLES = ["admins=admin", "support=boss"]
    settings.SECOND_FACTOR_ROLES = ["none", "chief"]
    settings.OWN_TOKEN_ROLES = ["operators"]

    assert [error.msg.split("“")[1].split("”")[0] for error in role_settings.check_role_settings(None)] == [
        "boss",
        "operators",
        "chief",
    ]


@pytest.mark.parametrize("pair", ["admin", "=admin", " =admin"])
def test_a_role_without_a_group_is_an_error(pair: str, settings: Any) -> None:
    settings.OIDC_GROUP_ROLES = [pair]

    assert [error.id for error in role_settings.check_role_settings(None)] == ["okno.E006"]


# --- the upgrade -------------------------------------------------------------------------------------------


def test_the_migration_keeps_what_people_could_do_before() -> None:
    migration = importlib.import_module("channels_setup.migrations.0004_roles")
    operator, editor = person(Role.OPERATOR), UserFactory(username="editor")
    Group.objects.filter(name__in=["Supervisor", "Auditor"]).delete()
    Group.objects.create(name="Auditor")  # somebody's own group
    erase, change = (
        Permission.objects.get(codename="erase_contact"),
        Permission.objects.get(codename="change_apichannel"),
    )
    Group.objects.get(name="Operator").permissions.add(erase)
    editor.user_permissions.add(change)

    migration.prepare_groups(apps, None)
    roles.sync_groups()

    operator, editor = User.objects.get(pk=operator.pk), User.objects.get(pk=editor.pk)
    assert operator.has_perm("bridge.erase_contact") and editor.has_perm(VIEW_ALL_CHATS)
    assert Group.objects.filter(name="Auditor (before roles)").exists()
    assert erase not in Group.objects.get(name="Operator").permissions.all()
