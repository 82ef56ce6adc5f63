"""What programs set of a request, and requests beside a live one. Columns with defaults: the table is not rewritten."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

NAMES = ArrayField(models.CharField(max_length=255))


class Migration(migrations.Migration):
    dependencies = [("bridge", "0034_template_link")]

    operations = [
        migrations.CreateModel(
            name="TicketField",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, unique=True, verbose_name="name")),
                (
                    "kind",
                    models.SmallIntegerField(choices=[(1, "text"), (3, "checkbox")], default=1, verbose_name="kind"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
            ],
            options={
                "verbose_name": "additional field of requests",
                "verbose_name_plural": "additional fields of requests",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="TicketTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, unique=True, verbose_name="name")),
            ],
            options={"verbose_name": "request tag", "verbose_name_plural": "request tags"},
        ),
        migrations.AlterField(  # a longer limit changes no row
            "ticket", "subject", models.CharField(blank=True, max_length=255, verbose_name="subject")
        ),
        migrations.AddField(
            "contact",
            "card",
            models.JSONField(
                blank=True, db_default=models.Value({}, output_field=models.JSONField()), default=dict
            ),
        ),
        migrations.AddField("conversation", "event_stamp", models.DateTimeField(editable=False, null=True)),
        migrations.AddField(
            "ticket",
            "additional_id",
            models.CharField(blank=True, db_default="", default="", max_length=255, verbose_name="additional id"),
        ),
        migrations.AddField("ticket", "assigned_to_group", models.BooleanField(db_default=False, default=False)),
        migrations.AddField(
            "ticket",
            "custom_fields",
            models.JSONField(
                blank=True, db_default=models.Value({}, output_field=models.JSONField()), default=dict
            ),
        ),
        migrations.AddField("ticket", "parallel", models.BooleanField(db_default=False, default=False)),
        migrations.AddField(
            "ticket",
            "priority",
            models.CharField(
                choices=[("low", "low"), ("medium", "medium"), ("urgent", "urgent"), ("extreme", "extreme")],
                db_default="medium",
                default="medium",
                max_length=10,
                verbose_name="priority",
            ),
        ),
        migrations.AddField(
            "ticket",
            "tags",
            ArrayField(
                base_field=models.CharField(max_length=255),
                blank=True,
                db_default=models.Value([], output_field=NAMES),
                default=list,
                size=None,
                verbose_name="tags",
            ),
        ),
        migrations.AddField(
            "ticket",
            "type",
            models.CharField(
                choices=[
                    ("question", "question"),
                    ("task", "task"),
                    ("problem", "problem"),
                    ("incident", "incident"),
                ],
                db_default="question",
                default="question",
                max_length=10,
                verbose_name="type",
            ),
        ),
    ]
