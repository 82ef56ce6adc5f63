from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("templates_registry", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="template",
            name="provider_status",
            field=models.CharField(blank=True, default="", editable=False, max_length=20),
            preserve_default=False,
        ),
    ]
