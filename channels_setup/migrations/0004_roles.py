"""Prepare existing groups for the roles Supervisor and Auditor, and for groups that follow the table of roles.

The release before knows the groups Admin and Operator only, and keeps permissions that somebody added to them. From now
on the roles' groups have exactly the permissions of their role.
"""

from typing import Any

from django.db import migrations
from django.db.models import Q

NEW_ROLES = ("Supervisor", "Auditor")
# Permissions of the two groups in the release before.
OLD_ROLES = {
    "Admin": Q(content_type__app_label__in=("channels_setup", "templates_registry", "bridge", "accounts", "auth")),
    "Operator": Q(
        content_type__app_label="bridge",
        codename__in=[
            f"view_{model}" for model in ("contact", "conversation", "delivery", "message", "servicewindow", "ticket")
        ],
    ),
}


def prepare_groups(apps: Any, schema_editor: Any) -> None:
    Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    User = apps.get_model("accounts", "User")
    for name in NEW_ROLES:
        Group.objects.filter(name=name).update(name=f"{name} (before roles)")
    for name, declared in OLD_ROLES.items():
        group = Group.objects.filter(name=name).first()
        extra = list(group.permissions.exclude(declared)) if group else []
        if extra:
            additional, _created = Group.objects.get_or_create(name=f"{name} (additional permissions)")
            additional.permissions.add(*extra)
            additional.user_set.add(*group.user_set.all())
    grant_all_chats(apps, Group, Permission, User)


def grant_all_chats(apps: Any, Group: Any, Permission: Any, User: Any) -> None:
    """Keep the chats of people who saw them all because they could change API channels."""
    old = Permission.objects.filter(content_type__app_label="channels_setup", codename="change_apichannel").first()
    if old is None:  # a new installation
        return
    content_type = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="channels_setup", model="chatchannel"
    )[0]
    # As `migrate` would create them after the last migration.
    new = Permission.objects.get_or_create(
        content_type=content_type, codename="view_all_chats", defaults={"name": "Can see the chats of all channels"}
    )[0]
    for holder in (*Group.objects.filter(permissions=old), *User.objects.filter(user_permissions=old)):
        held = holder.permissions if hasattr(holder, "permissions") else holder.user_permissions
        held.add(new)


class Migration(migrations.Migration):
    dependencies = [
        ("channels_setup", "0003_hidden_phones"),
        ("accounts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="chatchannel",
            options={
                "ordering": ["id"],
                "permissions": [("view_all_chats", "Can see the chats of all channels")],
                "verbose_name": "chat channel",
                "verbose_name_plural": "chat channels",
            },
        ),
        migrations.RunPython(prepare_groups, migrations.RunPython.noop),
    ]
