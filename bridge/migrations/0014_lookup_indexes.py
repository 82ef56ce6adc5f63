"""Indexes of deliveries that leave the planner no wrong choice, whatever the statistics say.

Until its workers end, the release before uses the new index for API channels ("pending or sending" implies "not
finished"), and the index of all deliveries for helpdesks, which is slower.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Coalesce

UNFINISHED = models.Q(('state__in', ['delivered', 'unknown', 'cancelled', 'dead']), _negated=True)


def drop(model_name, table, field, target, index_name):
    """Drop the index of a foreign key with which a unique constraint or another index begins."""
    key = models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=target)
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f'DROP INDEX CONCURRENTLY IF EXISTS "{index_name}"',
                reverse_sql=f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{index_name}" ON "{table}" ("{field}_id")',
            )
        ],
        state_operations=[migrations.AlterField(model_name=model_name, name=field, field=key)],
    )


class Migration(migrations.Migration):

    atomic = False  # the indexes are built and dropped concurrently

    dependencies = [
        ('bridge', '0013_due_indexes'),
        ('channels_setup', '0006_team_members_are_people'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(UNFINISHED, ('chat_channel__isnull', True)),
                fields=['api_channel', 'kind', 'priority', 'next_attempt_at', 'id'],
                name='deliveries_next_api_channel',
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                Coalesce('chat_channel', 0),
                'kind',
                'priority',
                'next_attempt_at',
                'id',
                condition=models.Q(UNFINISHED, ('kind__in', ['helpdesk', 'note'])),
                name='deliveries_next_chat_channel',
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(('lease_token__isnull', False)), fields=['api_channel'], name='deliveries_leased'
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                Coalesce('chat_channel', 0),
                condition=models.Q(('kind__in', ['helpdesk', 'note']), ('lease_token__isnull', False)),
                name='deliveries_leased_helpdesk',
            ),
        ),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_due_api_channel'),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_due_chat_channel'),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_in_flight'),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_in_flight_helpdesk'),
        drop(
            'erasedmessage',
            'bridge_erasedmessage',
            'api_channel',
            'channels_setup.apichannel',
            'bridge_erasedmessage_api_channel_id_ed5594dc',
        ),
        drop(
            'erasedhelpdesknumber',
            'bridge_erasedhelpdesknumber',
            'chat_channel',
            'channels_setup.chatchannel',
            'bridge_erasedhelpdesknumber_chat_channel_id_c1d5a9bf',
        ),
        drop(
            'straystatus',
            'bridge_straystatus',
            'api_channel',
            'channels_setup.apichannel',
            'bridge_straystatus_api_channel_id_ce88ac6a',
        ),
        drop(
            'pendingcorrection',
            'bridge_pendingcorrection',
            'api_channel',
            'channels_setup.apichannel',
            'bridge_pendingcorrection_api_channel_id_32d698fe',
        ),
    ]
