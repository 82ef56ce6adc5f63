"""A draft has a key, and the message that it became keeps it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bridge", "0030_contact_merges_index")]

    operations = [
        migrations.AddField(
            model_name="draft",
            name="key",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="draft",
            name="written_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="message",
            name="form_key",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
    ]
