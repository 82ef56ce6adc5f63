"""Records of erasures, and links from raw events to contacts.

Not atomic: each table is locked for its own statement only, so that no query can wait in the other direction.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('bridge', '0005_role_permissions'),
        ('channels_setup', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='ErasedHelpdeskNumber',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('fingerprint', models.BinaryField(max_length=32)),
            ],
            options={
                'verbose_name': 'erased number in the helpdesk',
                'verbose_name_plural': 'erased numbers in the helpdesk',
            },
        ),
        migrations.CreateModel(
            name='FileDeletion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('path', models.CharField(max_length=200, unique=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'file to delete',
                'verbose_name_plural': 'files to delete',
            },
        ),
        migrations.CreateModel(
            name='LoggedErasure',
            fields=[
                ('log_id', models.UUIDField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'logged erasure',
                'verbose_name_plural': 'logged erasures',
            },
        ),
        migrations.AddField(
            model_name='conversation',
            name='is_erased',
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name='erasure',
            name='outside',
            field=models.JSONField(db_default=models.Value([], output_field=models.JSONField()), default=list, verbose_name='stays outside'),
        ),
        migrations.AddField(
            model_name='erasure',
            name='source',
            field=models.CharField(choices=[('button', 'button'), ('command', 'command line'), ('api', 'API'), ('restore', 'repeated after a restore')], db_default='button', default='button', max_length=10, verbose_name='source'),
        ),
        migrations.AddField(
            model_name='idempotencykey',
            name='contact_ids',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), editable=False, null=True, size=None),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='contact_ids',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), editable=False, null=True, size=None),
        ),
        migrations.AddField(
            model_name='erasedhelpdesknumber',
            name='chat_channel',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='channels_setup.chatchannel'),
        ),
        migrations.AddConstraint(
            model_name='erasedhelpdesknumber',
            constraint=models.UniqueConstraint(fields=('chat_channel', 'fingerprint'), name='one_erased_helpdesk_number'),
        ),
    ]
