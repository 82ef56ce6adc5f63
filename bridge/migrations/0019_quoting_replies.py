import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bridge", "0018_given_files")]

    operations = [
        migrations.AddField(
            "heldreply",
            "quoted",
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="bridge.message"
            ),
        ),
    ]
