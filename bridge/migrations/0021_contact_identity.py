"""Fields for the identity of contacts. The rows are filled by 0022, the indexes are built by 0023."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("bridge", "0020_window_state_closed"),
        ("channels_setup", "0008_resumed_at"),
    ]

    operations = [
        migrations.CreateModel(
            name='FormerId',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('external_id', "provider's id"), ('user_id', 'id with this business')], max_length=12)),
                ('value', models.CharField(max_length=190)),
                ('until', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'former id',
                'verbose_name_plural': 'former ids',
            },
        ),
        migrations.AddField(
            model_name='contact',
            name='address_key',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=32),
        ),
        migrations.AddField(
            model_name='contact',
            name='caller_id',
            field=models.CharField(blank=True, db_default='', max_length=190, verbose_name="id in the caller's system"),
        ),
        migrations.AddField(
            model_name='contact',
            name='moved_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='moved'),
        ),
        migrations.AddField(
            model_name='contact',
            name='moved_to',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='moved_from', to='bridge.contact', verbose_name='now writes as'),
        ),
        migrations.AddField(
            model_name='contact',
            name='name_source',
            field=models.CharField(choices=[('profile', "the client's profile"), ('person', 'set by a person')], db_default='profile', default='profile', max_length=10, verbose_name='source of the name'),
        ),
        migrations.AddField(
            model_name='contact',
            name='number_issued',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='contact',
            name='phone_key',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=32),
        ),
        migrations.AddField(
            model_name='contact',
            name='username',
            field=models.CharField(blank=True, db_default='', max_length=100, verbose_name='user name'),
        ),
        migrations.AddField(
            model_name='formerid',
            name='api_channel',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='channels_setup.apichannel'),
        ),
        migrations.AddField(
            model_name='formerid',
            name='contact',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='former_ids', to='bridge.contact'),
        ),
        migrations.AddIndex(
            model_name='formerid',
            index=models.Index(fields=['api_channel', 'value'], name='former_ids_by_value'),
        ),
    ]
