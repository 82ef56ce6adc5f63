"""Since when a client has been waiting for a reply. Nothing to backfill: null means since the last message."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Coalesce


class Migration(migrations.Migration):

    atomic = False  # the index is built concurrently

    dependencies = [
        ('bridge', '0022_chat_activity_and_notes'),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='waiting_since',
            field=models.DateTimeField(editable=False, null=True),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(
                models.F('chat_channel'),
                Coalesce('waiting_since', 'last_message_at'),
                models.F('id'),
                condition=models.Q(('last_direction', 'inbound'), ('request_status__in', (1, 8))),
                name='conversations_longest_waiting',
            ),
        ),
    ]
