import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bridge", "0017_helpdesk_people_and_cards"), ("channels_setup", "0008_resumed_at")]

    operations = [
        migrations.AddField(
            model_name="upload",
            name="sha256",
            field=models.CharField(blank=True, default="", max_length=64),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="GivenToProvider",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("mime", models.CharField(max_length=100)),
                ("external_id", models.CharField(max_length=190)),
                ("expires_at", models.DateTimeField()),
                (
                    "api_channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="channels_setup.apichannel",
                    ),
                ),
            ],
            options={
                "verbose_name": "file given to the provider",
                "verbose_name_plural": "files given to the provider",
                "constraints": [
                    models.UniqueConstraint(fields=("api_channel", "sha256", "mime"), name="given_once")
                ],
            },
        ),
    ]
