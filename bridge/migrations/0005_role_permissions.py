"""Permissions of supervisors."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("bridge", "0004_view_full_phone")]

    operations = [
        migrations.AlterModelOptions(
            name="conversation",
            options={
                "permissions": [
                    ("view_reports", "Can see and download reports on all operators"),
                    ("assign_any_chat", "Can assign chats of other operators"),
                ],
                "verbose_name": "conversation",
                "verbose_name_plural": "conversations",
            },
        ),
    ]
