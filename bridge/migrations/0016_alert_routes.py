import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models

KINDS = [
    ('breaker', 'destination down'),
    ('stuck', 'message fails repeatedly'),
    ('failing_long', 'destination down for days'),
    ('switched_off', 'channel paused by the portal'),
    ('unconfirmed', 'messages without a status'),
    ('mismatch', 'message status mismatches'),
    ('webhook_inactivity', 'no webhooks'),
    ('unrouted', 'webhooks for an unknown number'),
    ('groups', 'messages from groups'),
    ('template_sync', 'templates not synchronized'),
    ('helpdesk_down', 'helpdesk down'),
    ('component_stopped', 'component stopped'),
    ('disk_low', 'disk almost full'),
    ('deliveries_late', 'deliveries late'),
    ('inbox_late', 'webhooks processed late'),
    ('events_failed', 'unreadable webhooks'),
    ('dead_letters', 'dead letters'),
    ('backup_old', 'no recent backup'),
    ('route_failing', 'alert route failing'),
]


def allow_null(model_name, table, name, field):
    """Allow NULL in a foreign key. AlterField would add its constraint again, which stops writes for a whole scan."""
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f'ALTER TABLE "{table}" ALTER COLUMN "{name}_id" DROP NOT NULL',
                f'ALTER TABLE "{table}" ALTER COLUMN "{name}_id" SET NOT NULL',
            )
        ],
        state_operations=[migrations.AlterField(model_name=model_name, name=name, field=field)],
    )


class Migration(migrations.Migration):
    """Alerts of the portal as a whole, and alert messages as deliveries without a conversation.

    The release before neither claims nor changes alert messages: it joins each delivery with its channel.
    """

    atomic = False  # indexes are built concurrently, and each table is locked for its own statement only

    dependencies = [
        ('channels_setup', '0008_alert_routes'),
        ('bridge', '0015_errors_without_data'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # --- alerts ---
        allow_null(
            'alert',
            'bridge_alert',
            'api_channel',
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='channels_setup.apichannel'
            ),
        ),
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=KINDS, max_length=20, verbose_name='kind'),
        ),
        migrations.AddField(
            model_name='alert',
            name='subject',
            field=models.CharField(blank=True, db_default='', default='', max_length=60),
        ),
        migrations.AddField(
            model_name='alert',
            name='opened_at',
            field=models.DateTimeField(null=True, verbose_name='opened'),
        ),
        migrations.AddField(
            model_name='alert',
            name='opened_by',
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name='+',
                to=settings.AUTH_USER_MODEL,
                verbose_name='opened by',
                db_index=False,
            ),
        ),
        migrations.AddField(
            model_name='alert',
            name='acknowledged_at',
            field=models.DateTimeField(null=True, verbose_name='acknowledged'),
        ),
        migrations.AddField(
            model_name='alert',
            name='acknowledged_by',
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name='+',
                to=settings.AUTH_USER_MODEL,
                verbose_name='acknowledged by',
                db_index=False,
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint(
                    model_name='alert',
                    constraint=models.UniqueConstraint(
                        condition=models.Q(('settled_at', None)),
                        fields=('kind', 'api_channel', 'delivery', 'subject'),
                        name='one_open_alert_per_subject',
                        nulls_distinct=False,
                    ),
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    'CREATE UNIQUE INDEX CONCURRENTLY one_open_alert_per_subject'
                    ' ON bridge_alert (kind, api_channel_id, delivery_id, subject)'
                    ' NULLS NOT DISTINCT WHERE settled_at IS NULL',
                    'DROP INDEX CONCURRENTLY one_open_alert_per_subject',
                ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveConstraint(model_name='alert', name='one_open_alert')],
            database_operations=[
                migrations.RunSQL(
                    'DROP INDEX CONCURRENTLY one_open_alert',
                    'CREATE UNIQUE INDEX CONCURRENTLY one_open_alert ON bridge_alert (kind, api_channel_id, delivery_id)'
                    ' NULLS NOT DISTINCT WHERE settled_at IS NULL',
                ),
            ],
        ),
        # Only backwards: alerts of the portal as a whole, which the column without NULL cannot hold.
        migrations.RunSQL(migrations.RunSQL.noop, 'DELETE FROM bridge_alert WHERE api_channel_id IS NULL'),
        # --- circuit breakers ---
        migrations.AddField(
            model_name='circuitbreaker',
            name='alert_route',
            field=models.OneToOneField(
                null=True, on_delete=django.db.models.deletion.CASCADE, related_name='breaker', to='channels_setup.alertroute'
            ),
        ),
        AddConstraintNotValid(
            model_name='circuitbreaker',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(('alert_route', None), ('api_channel__isnull', False), ('chat_channel', None)),
                    models.Q(('alert_route', None), ('api_channel', None), ('chat_channel__isnull', False)),
                    models.Q(('alert_route__isnull', False), ('api_channel', None), ('chat_channel', None)),
                    _connector='OR',
                ),
                name='breaker_of_a_destination',
            ),
        ),
        ValidateConstraint(model_name='circuitbreaker', name='breaker_of_a_destination'),
        migrations.RemoveConstraint(model_name='circuitbreaker', name='breaker_of_one_destination'),
        # --- deliveries ---
        migrations.AlterField(
            model_name='delivery',
            name='kind',
            field=models.CharField(
                choices=[
                    ('message', 'message to the contact'),
                    ('event', 'event for an API channel'),
                    ('helpdesk', 'message to the helpdesk'),
                    ('note', "note to the helpdesk's operators"),
                    ('alert', 'alert message'),
                    ('alert_mail', 'alert email'),
                ],
                max_length=10,
                verbose_name='kind',
            ),
        ),
        migrations.AddField(
            model_name='delivery',
            name='alert_route',
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name='deliveries',
                to='channels_setup.alertroute',
                verbose_name='alert route',
            ),
        ),
        allow_null(
            'delivery',
            'bridge_delivery',
            'api_channel',
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name='deliveries',
                to='channels_setup.apichannel',
                verbose_name='destination',
            ),
        ),
        allow_null(
            'delivery',
            'bridge_delivery',
            'conversation',
            models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='bridge.conversation'
            ),
        ),
        # Only backwards: alert messages, which the columns without NULL cannot hold.
        migrations.RunSQL(
            migrations.RunSQL.noop,
            """
            DELETE FROM bridge_attempt a USING bridge_delivery d WHERE a.delivery_id = d.id AND d.conversation_id IS NULL;
            DELETE FROM bridge_deliverydecision c USING bridge_delivery d
                WHERE c.delivery_id = d.id AND d.conversation_id IS NULL;
            DELETE FROM bridge_delivery WHERE conversation_id IS NULL;
            """,
        ),
        AddConstraintNotValid(
            model_name='delivery',
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(('alert_route', None), ('api_channel__isnull', False), ('conversation__isnull', False)),
                    models.Q(
                        ('alert_route__isnull', False),
                        ('api_channel', None),
                        ('chat_channel', None),
                        ('conversation', None),
                        ('message', None),
                    ),
                    _connector='OR',
                ),
                name='delivery_has_destination',
            ),
        ),
        ValidateConstraint(model_name='delivery', name='delivery_has_destination'),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(
                    models.Q(('state__in', ['delivered', 'unknown', 'cancelled', 'dead']), _negated=True),
                    ('alert_route__isnull', False),
                ),
                fields=['alert_route', 'kind', 'priority', 'next_attempt_at', 'id'],
                name='deliveries_next_alert_route',
            ),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(
                condition=models.Q(('alert_route__isnull', False)),
                fields=['alert_route', '-id'],
                name='deliveries_of_alert_route',
            ),
        ),
        # --- who was told what ---
        migrations.CreateModel(
            name='AlertNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.CharField(choices=[('raised', 'raised'), ('resolved', 'resolved')], max_length=10)),
                (
                    'alert',
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='notices',
                        to='bridge.alert',
                    ),
                ),
                (
                    'delivery',
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name='notices',
                        to='bridge.delivery',
                    ),
                ),
                (
                    'route',
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name='notices', to='channels_setup.alertroute'
                    ),
                ),
            ],
            options={
                'constraints': [
                    models.UniqueConstraint(fields=('alert', 'route', 'event'), name='one_notice_per_event')
                ],
            },
        ),
        # One statement each, because both tables are locked for a moment.
        migrations.RunSQL(
            """
            ALTER TABLE bridge_alertnotice
                ADD CONSTRAINT alertnotice_alert FOREIGN KEY (alert_id) REFERENCES bridge_alert ON DELETE CASCADE
            """,
            'ALTER TABLE bridge_alertnotice DROP CONSTRAINT alertnotice_alert',
        ),
        migrations.RunSQL(
            """
            ALTER TABLE bridge_alertnotice
                ADD CONSTRAINT alertnotice_delivery FOREIGN KEY (delivery_id) REFERENCES bridge_delivery ON DELETE SET NULL
            """,
            'ALTER TABLE bridge_alertnotice DROP CONSTRAINT alertnotice_delivery',
        ),
    ]
