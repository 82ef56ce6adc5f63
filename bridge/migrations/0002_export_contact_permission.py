"""Permission to export a person's data."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("bridge", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="contact",
            options={
                "permissions": [
                    ("erase_contact", "Can erase a person and all their data"),
                    ("merge_contact", "Can merge contacts"),
                    ("export_contact", "Can export all data of a person"),
                ],
                "verbose_name": "contact",
                "verbose_name_plural": "contacts",
            },
        ),
    ]
