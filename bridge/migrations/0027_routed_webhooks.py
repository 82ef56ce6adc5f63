"""Webhook events that were routed, put aside, or came from groups."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0026_windows_of_late_messages'),
        ('channels_setup', '0008_resumed_at'),
    ]

    operations = [
        migrations.AddField(
            model_name='webhookevent',
            name='note',
            field=models.CharField(blank=True, choices=[('', ''), ('group', 'WhatsApp group, not supported'), ('routed', 'handed over to another channel'), ('sample', "test from the provider's page")], db_default='', default='', max_length=10, verbose_name='note'),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='proof',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='routed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='routed_from',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('breaker', 'destination down'), ('stuck', 'message not getting through'), ('failing_long', 'destination down for days'), ('switched_off', 'channel paused by the portal'), ('unconfirmed', 'messages without a status'), ('mismatch', 'the two sides disagree'), ('silent', 'no webhooks'), ('unrouted', 'webhooks for an unknown number'), ('groups', 'messages from groups')], max_length=20, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='webhookevent',
            name='received_at',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='received'),
        ),
        migrations.AlterField(
            model_name='webhookevent',
            name='state',
            field=models.CharField(choices=[('new', 'waiting'), ('processed', 'processed'), ('failed', 'failed'), ('unrouted', 'not routed')], default='new', max_length=10, verbose_name='state'),
        ),
    ]
