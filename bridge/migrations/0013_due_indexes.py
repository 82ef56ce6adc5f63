from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Due deliveries by kind and priority. Until its workers end, the release before reads ``deliveries_in_line``."""

    atomic = False  # the indexes are built concurrently

    dependencies = [
        ('bridge', '0012_one_engine'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint(
                    model_name='ratelimit',
                    constraint=models.UniqueConstraint(
                        fields=('api_channel', 'key'), name='one_bucket_per_key', nulls_distinct=False
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    'CREATE UNIQUE INDEX CONCURRENTLY one_bucket_per_key'
                    ' ON bridge_ratelimit (api_channel_id, key) NULLS NOT DISTINCT',
                    migrations.RunSQL.noop,  # dropped with the constraint
                ),
                migrations.RunSQL(
                    """
                    ALTER TABLE bridge_ratelimit
                        ADD CONSTRAINT one_bucket_per_key UNIQUE USING INDEX one_bucket_per_key
                    """,
                    'ALTER TABLE bridge_ratelimit DROP CONSTRAINT one_bucket_per_key',
                ),
            ],
        ),
        migrations.RemoveConstraint(model_name='ratelimit', name='one_bucket_per_limit'),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(('chat_channel__isnull', True), ('state__in', ['pending', 'sending'])),
                fields=['api_channel', 'kind', 'priority', 'next_attempt_at', 'id'],
                name='deliveries_due_api_channel',
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(('chat_channel__isnull', False), ('state__in', ['pending', 'sending'])),
                fields=['chat_channel', 'kind', 'priority', 'next_attempt_at', 'id'],
                name='deliveries_due_chat_channel',
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(('chat_channel__isnull', False), ('state', 'sending')),
                fields=['chat_channel'],
                name='deliveries_in_flight_helpdesk',
            ),
        ),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_due'),
        RemoveIndexConcurrently(model_name='delivery', name='deliveries_to_helpdesks'),
    ]
