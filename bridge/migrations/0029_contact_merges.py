import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("bridge", "0028_routed_webhooks_indexes"),
        ('channels_setup', '0008_resumed_at'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ContactMerge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(verbose_name='at')),
                ('counts', models.JSONField(default=dict, verbose_name='what moved')),
                ('before', models.JSONField(default=dict)),
                ('undone_at', models.DateTimeField(null=True, verbose_name='undone at')),
            ],
            options={
                'verbose_name': 'merge of contacts',
                'verbose_name_plural': 'merges of contacts',
            },
        ),
        migrations.CreateModel(
            name='MergedConversation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('old_id', models.BigIntegerField(unique=True, verbose_name='former number')),
                ('row', models.JSONField(default=dict)),
                ('rows', models.JSONField(default=dict)),
                ('before', models.JSONField(default=dict)),
                ('helpdesk_chat_id', models.BigIntegerField(null=True)),
            ],
            options={
                'verbose_name': 'merged conversation',
                'verbose_name_plural': 'merged conversations',
            },
        ),
        migrations.AlterModelOptions(
            name='contact',
            options={'permissions': [('erase_contact', 'Can erase a person and all that is known of them'), ('merge_contact', 'Can merge contacts')], 'verbose_name': 'contact', 'verbose_name_plural': 'contacts'},
        ),
        migrations.AddField(
            model_name='contact',
            name='has_merged',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='contact',
            name='merged_into',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='merged', to='bridge.contact', verbose_name='merged into'),
        ),
        migrations.AddField(
            model_name='message',
            name='merged_contact',
            field=models.ForeignKey(db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='bridge.contact'),
        ),
        migrations.AddField(
            model_name='servicewindow',
            name='merged_contact',
            field=models.ForeignKey(db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='bridge.contact'),
        ),
        migrations.AddField(
            model_name='contactmerge',
            name='by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='by'),
        ),
        migrations.AddField(
            model_name='contactmerge',
            name='source',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='merges_away', to='bridge.contact', verbose_name='merged contact'),
        ),
        migrations.AddField(
            model_name='contactmerge',
            name='target',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='merges_in', to='bridge.contact', verbose_name='merged into'),
        ),
        migrations.AddField(
            model_name='contactmerge',
            name='undone_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='undone by'),
        ),
        migrations.AddField(
            model_name='mergedconversation',
            name='conversation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='bridge.conversation'),
        ),
        migrations.AddField(
            model_name='mergedconversation',
            name='merge',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='conversations', to='bridge.contactmerge'),
        ),
        migrations.AddConstraint(
            model_name='contactmerge',
            constraint=models.UniqueConstraint(condition=models.Q(('undone_at', None)), fields=('source',), name='one_merge_per_contact'),
        ),
        migrations.AddConstraint(
            model_name='contactmerge',
            constraint=models.CheckConstraint(condition=models.Q(('source', models.F('target')), _negated=True), name='merge_of_two_contacts'),
        ),
        migrations.AddIndex(
            model_name='mergedconversation',
            index=models.Index(condition=models.Q(('helpdesk_chat_id__isnull', False)), fields=['helpdesk_chat_id'], name='merged_helpdesk_chats'),
        ),
    ]
