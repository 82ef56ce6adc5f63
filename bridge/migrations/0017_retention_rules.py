
import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0016_alert_routes'),
    ]

    operations = [
        migrations.CreateModel(
            name='RetentionRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('messages', 'Messages'), ('files', 'Files'), ('events', 'Raw requests'), ('deliveries', 'Deliveries'), ('attempts', 'Attempts'), ('records', 'Working records'), ('sign_ins', 'Sign-in log'), ('audit', 'Audit records')], max_length=20, unique=True, verbose_name='kind')),
                ('days', models.PositiveIntegerField(validators=[django.core.validators.MaxValueValidator(36500)], verbose_name='days')),
            ],
            options={
                'verbose_name': 'retention rule',
                'verbose_name_plural': 'retention rules',
                'default_permissions': ('change', 'view'),
            },
        ),
        migrations.CreateModel(
            name='StorageSnapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(unique=True, verbose_name='day')),
                ('bytes_by_group', models.JSONField(default=dict)),
                ('messages', models.BigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'storage snapshot',
                'verbose_name_plural': 'storage snapshots',
                'default_permissions': ('view',),
            },
        ),
    ]
