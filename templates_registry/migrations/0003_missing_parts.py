from django.db import migrations, models

from templates_registry import sendability

BATCH = 500


def fill(apps, schema_editor):
    """Name the parts that cannot be filled, for the templates that have such parts."""
    rows = apps.get_model("templates_registry", "Template").objects.order_by("pk")
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        found = []
        for row in batch:
            names = ("name", "language", "category", "parameter_format", "components")
            row.missing_parts = sendability.missing_in({name: getattr(row, name) for name in names})
            if row.missing_parts:
                found.append(row)
        rows.bulk_update(found, ["missing_parts"])


class Migration(migrations.Migration):
    dependencies = [("templates_registry", "0002_provider_status")]

    operations = [
        migrations.AddField(
            model_name="template",
            name="missing_parts",
            field=models.JSONField(blank=True, db_default=[], default=list, editable=False),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]
