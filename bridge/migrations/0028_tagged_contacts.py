from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the index is built concurrently

    dependencies = [
        ('bridge', '0027_contact_imports'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='contact',
            index=models.Index(
                condition=models.Q(('tags', []), _negated=True), fields=['api_channel', '-id'], name='contacts_tagged'
            ),
        ),
    ]
