import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the index is built concurrently

    dependencies = [
        ('bridge', '0031_saved_views'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='note',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='bridge.conversationnote'),
        ),
        AddIndexConcurrently(
            model_name='notification',
            index=models.Index(condition=models.Q(('note__isnull', False)), fields=['note'], name='notifications_of_note'),
        ),
    ]
