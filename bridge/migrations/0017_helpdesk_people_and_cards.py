from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bridge", "0016_silence_alert")]

    operations = [
        migrations.AddField("helpdeskchat", "card", models.JSONField(default=dict)),
        migrations.AddField("helpdeskline", "people", models.JSONField(default=dict)),
        migrations.AddField("helpdeskline", "people_asked_at", models.DateTimeField(null=True)),
    ]
