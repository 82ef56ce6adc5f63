"""Indexes for automatic assignment and for snoozed chats, built while the portal works."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('bridge', '0019_automation'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('last_direction', 'inbound'), ('request_status__in', (1, 8))), fields=['assignee', 'chat_channel', 'last_message_at'], name='conversations_waiting_of'),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('snoozed_until__isnull', False)), fields=['chat_channel', '-last_message_at', '-id'], include=['snoozed_until'], name='conversations_snoozed'),
        ),
    ]
