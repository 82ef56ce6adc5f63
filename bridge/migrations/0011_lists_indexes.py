"""Indexes beside the running portal: nobody waits while they are built."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('bridge', '0010_lists_filled'),
        ('channels_setup', '0004_rate_limits'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='contact',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(models.F('name'), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), django.db.models.functions.text.Right('phone', 3), django.db.models.functions.text.Right('phone', 4), django.db.models.functions.text.Right('phone', 5), django.db.models.functions.text.Right('phone', 6), django.db.models.functions.text.Right('phone', 7), django.db.models.functions.text.Right('phone', 8), django.db.models.functions.text.Right('phone', 9), django.db.models.functions.text.Right('phone', 10), django.db.models.functions.text.Right('phone', 11), django.db.models.functions.text.Right('phone', 12), django.db.models.functions.text.Right('phone', 13), config='simple'), name='contacts_by_words'),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('last_direction', 'inbound'), ('request_status__in', (1, 8))), fields=['chat_channel', '-last_message_at', '-id'], name='conversations_waiting'),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('assignee', None), ('request_status__in', (1, 8))), fields=['chat_channel', '-last_message_at', '-id'], name='conversations_unassigned'),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('assignee__isnull', False)), fields=['assignee', '-last_message_at', '-id'], include=('chat_channel', 'request_status'), name='conversations_of_assignee'),
        ),
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(fields=['chat_channel', 'request_status', '-last_message_at', '-id'], name='conversations_by_status'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(django.db.models.functions.text.Left('text', 4000), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), config='russian'), name='messages_by_words'),
        ),
        AddIndexConcurrently(
            model_name='servicewindow',
            index=models.Index(condition=models.Q(('missed', True)), fields=['expires_at'], name='windows_missed'),
        ),
        AddIndexConcurrently(
            model_name='servicewindow',
            index=models.Index(condition=models.Q(('state', 'shut')), fields=['expires_at'], include=('conversation',), name='windows_shut'),
        ),
        AddIndexConcurrently(
            model_name='ticket',
            index=models.Index(fields=['status', '-opened_at', '-id'], name='tickets_by_status'),
        ),
        AddIndexConcurrently(
            model_name='ticket',
            index=models.Index(condition=models.Q(('status__in', [3, 4, 7, 10]), _negated=True), fields=['-opened_at', '-id'], name='tickets_live'),
        ),
        AddIndexConcurrently(
            model_name='ticket',
            index=models.Index(condition=models.Q(('assignee__isnull', False)), fields=['assignee', '-opened_at', '-id'], name='tickets_of_assignee'),
        ),
        migrations.AlterField(
            model_name='conversation',
            name='assignee',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='assignee'),
        ),
        migrations.AlterField(
            model_name='conversation',
            name='chat_channel',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='conversations', to='channels_setup.chatchannel'),
        ),
        migrations.AlterField(
            model_name='conversation',
            name='contact',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='conversations', to='bridge.contact'),
        ),
        migrations.AlterField(
            model_name='ticket',
            name='assignee',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='assignee'),
        ),
    ]
