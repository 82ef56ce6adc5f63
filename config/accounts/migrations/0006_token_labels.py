from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_access_triggers"),
    ]

    operations = [
        migrations.AlterField(
            model_name="apitoken",
            name="chat_channels",
            field=models.ManyToManyField(
                blank=True,
                help_text="The program sees only the chats of these channels. Empty: it sees those that its user sees.",
                related_name="+",
                to="channels_setup.chatchannel",
                verbose_name="chat channels",
            ),
        ),
        migrations.AlterField(
            model_name="apitoken",
            name="scope",
            field=models.CharField(
                choices=[("read", "read only"), ("write", "read and write"), ("metrics", "metrics only")],
                db_default="write",
                default="write",
                help_text="“Metrics only” opens /metrics and nothing else.",
                max_length=16,
                verbose_name="scope",
            ),
        ),
    ]
