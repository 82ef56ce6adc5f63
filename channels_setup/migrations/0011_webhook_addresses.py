import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channels_setup', '0010_event_compatibility'),
    ]

    operations = [
        # Empty on the way back, until the next migration's way back has filled it.
        migrations.AlterField(
            model_name="apichannel",
            name="path_token",
            field=models.CharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.AlterField(
            model_name="chatchannel",
            name="path_token",
            field=models.CharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.CreateModel(
            name='WebhookAddress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token', models.BinaryField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('last_used_at', models.DateTimeField(editable=False, null=True, verbose_name='last use')),
                ('digest', models.BinaryField(unique=True)),
                ('tail', models.CharField(editable=False, max_length=4)),
                ('api_channel', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='addresses', to='channels_setup.apichannel')),
                ('chat_channel', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='addresses', to='channels_setup.chatchannel')),
            ],
            options={
                'verbose_name': 'webhook address',
                'verbose_name_plural': 'webhook addresses',
                'constraints': [models.CheckConstraint(condition=models.Q(('api_channel', None), ('chat_channel', None), _connector='XOR'), name='webhook_address_has_one_channel'), models.UniqueConstraint(condition=models.Q(('expires_at', None)), fields=('api_channel',), name='one_current_address_api_channel'), models.UniqueConstraint(condition=models.Q(('expires_at', None)), fields=('chat_channel',), name='one_current_address_chat_channel')],
            },
        ),
    ]
