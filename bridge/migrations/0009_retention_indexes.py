from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # the indexes are built concurrently

    dependencies = [
        ('bridge', '0008_retention'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='attachment',
            index=models.Index(condition=models.Q(('state', 'expired'), _negated=True), fields=['id'], name='files_to_expire'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('message', None), models.Q(('payload', {}), _negated=True)), fields=['created_at', 'id'], name='deliveries_to_expire'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(condition=models.Q(('expired_at', None)), fields=['api_channel', 'created_at', 'id'], name='messages_to_expire'),
        ),
    ]
