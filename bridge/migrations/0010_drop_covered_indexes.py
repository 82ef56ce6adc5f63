"""Drop indexes that others cover. Rows that change often are written into fewer of them."""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

import bridge.models.deliveries


def drop(name, table, columns, *state_operations):
    """Drop the index that Django creates with a field, and record the field without it."""
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"',
                reverse_sql=f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{name}" ON "{table}" ({columns})',
            )
        ],
        state_operations=list(state_operations),
    )


def alter_key(model_name, name, to, on_delete, related_name, **options):
    field = models.ForeignKey(db_index=False, on_delete=on_delete, related_name=related_name, to=to, **options)
    return migrations.AlterField(model_name=model_name, name=name, field=field)


CASCADE, PROTECT, SET_NULL = (
    django.db.models.deletion.CASCADE,
    django.db.models.deletion.PROTECT,
    django.db.models.deletion.SET_NULL,
)


class Migration(migrations.Migration):

    atomic = False  # the indexes are built and dropped concurrently

    dependencies = [
        ('bridge', '0009_retention_indexes'),
        ('channels_setup', '0006_team_members_are_people'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # Few rows have these keys, so their indexes become partial.
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('chat_channel__isnull', False)), fields=['chat_channel'], name='deliveries_of_helpdesk'),
        ),
        drop(
            'bridge_delivery_chat_channel_id_5473d500',
            'bridge_delivery',
            'chat_channel_id',
            alter_key('delivery', 'chat_channel', 'channels_setup.chatchannel', PROTECT, 'deliveries', null=True),
        ),
        AddIndexConcurrently(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('chat_channel__isnull', False)), fields=['chat_channel'], name='events_of_helpdesk'),
        ),
        drop(
            'bridge_webhookevent_chat_channel_id_afc0286e',
            'bridge_webhookevent',
            'chat_channel_id',
            alter_key('webhookevent', 'chat_channel', 'channels_setup.chatchannel', PROTECT, 'webhook_events', null=True, verbose_name='chat channel'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(condition=models.Q(('author__isnull', False)), fields=['author'], name='messages_of_author'),
        ),
        drop(
            'bridge_message_author_id_1a1734e1',
            'bridge_message',
            'author_id',
            alter_key('message', 'author', settings.AUTH_USER_MODEL, SET_NULL, '+', null=True),
        ),
        # One index for the events of a channel and their age.
        AddIndexConcurrently(
            model_name='webhookevent',
            index=models.Index(fields=['api_channel', 'received_at'], name='events_of_channel'),
        ),
        AddIndexConcurrently(
            model_name='webhookevent',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['received_at'], name='events_by_time'),
        ),
        drop(
            'bridge_webhookevent_api_channel_id_29248765',
            'bridge_webhookevent',
            'api_channel_id',
            alter_key('webhookevent', 'api_channel', 'channels_setup.apichannel', PROTECT, 'webhook_events', null=True, verbose_name='API channel'),
        ),
        RemoveIndexConcurrently(model_name='webhookevent', name='events_by_age'),
        # Covered by messages_of_conversation, windows_of_conversation and one_bucket_per_limit.
        drop(
            'bridge_message_conversation_id_2f633efc',
            'bridge_message',
            'conversation_id',
            alter_key('message', 'conversation', 'bridge.conversation', PROTECT, 'messages'),
        ),
        drop(
            'bridge_servicewindow_conversation_id_79f64e80',
            'bridge_servicewindow',
            'conversation_id',
            alter_key('servicewindow', 'conversation', 'bridge.conversation', CASCADE, 'windows'),
        ),
        drop(
            'bridge_ratelimit_api_channel_id_b19dbc8d',
            'bridge_ratelimit',
            'api_channel_id',
            alter_key('ratelimit', 'api_channel', 'channels_setup.apichannel', CASCADE, 'rate_limits'),
        ),
        # Nothing searches keys by LIKE. The unique constraint stays as it is.
        drop(
            'bridge_delivery_key_9bb9752a_like',
            'bridge_delivery',
            'key varchar_pattern_ops',
            migrations.AlterField(
                model_name='delivery',
                name='key',
                field=models.CharField(default=bridge.models.deliveries.new_delivery_key, editable=False, max_length=40, verbose_name='key'),
            ),
            migrations.AddConstraint(
                model_name='delivery',
                constraint=models.UniqueConstraint(fields=('key',), name='bridge_delivery_key_key'),
            ),
        ),
    ]
