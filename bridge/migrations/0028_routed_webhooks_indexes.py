"""Indexes beside the running portal: nobody waits while they are built."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('bridge', '0027_routed_webhooks'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('state', 'unrouted')), fields=['-id'], name='events_unrouted'),
        ),
        AddIndexConcurrently(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('note', 'group')), fields=['-id'], name='events_of_groups'),
        ),
    ]
