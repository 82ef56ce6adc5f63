import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # each table is locked for its own statement only

    dependencies = [
        ('bridge', '0021_notifications'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ConversationNote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField(blank=True, verbose_name='text')),
                ('previous', models.JSONField(blank=True, default=list)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name='created')),
                ('edited_at', models.DateTimeField(null=True, verbose_name='edited')),
                ('deleted_at', models.DateTimeField(null=True, verbose_name='deleted')),
                ('form_key', models.CharField(blank=True, db_default='', default='', max_length=64)),
                ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='author')),
                ('conversation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='notes', to='bridge.conversation')),
                ('ticket', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='bridge.ticket')),
            ],
            options={
                'verbose_name': 'note in a chat',
                'verbose_name_plural': 'notes in chats',
            },
        ),
        migrations.CreateModel(
            name='NoteMention',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('seen_at', models.DateTimeField(null=True)),
                ('conversation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='bridge.conversation')),
                ('note', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='mentions', to='bridge.conversationnote')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'mention',
                'verbose_name_plural': 'mentions',
            },
        ),
        migrations.CreateModel(
            name='ConversationActivity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=30, verbose_name='kind')),
                ('details', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name='created')),
                ('actor', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('conversation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='activities', to='bridge.conversation')),
                ('ticket', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='bridge.ticket')),
            ],
            options={
                'verbose_name': 'activity of a chat',
                'verbose_name_plural': 'activities of chats',
                'indexes': [models.Index(fields=['conversation', 'created_at'], name='activities_of_conversation')],
            },
        ),
        migrations.AddIndex(
            model_name='conversationnote',
            index=models.Index(fields=['conversation', 'created_at'], name='notes_of_conversation'),
        ),
        migrations.AddIndex(
            model_name='conversationnote',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(django.db.models.functions.text.Left('text', 4000), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), config='russian'), name='notes_by_words'),
        ),
        migrations.AddConstraint(
            model_name='conversationnote',
            constraint=models.UniqueConstraint(condition=models.Q(('form_key', ''), _negated=True), fields=('conversation', 'form_key'), name='one_note_per_form_key'),
        ),
        migrations.AddConstraint(
            model_name='conversationnote',
            constraint=models.CheckConstraint(condition=models.Q(('deleted_at', None), models.Q(('previous', []), ('text', '')), _connector='OR'), name='deleted_note_has_no_text'),
        ),
        migrations.AddIndex(
            model_name='notemention',
            index=models.Index(fields=['user', 'conversation'], name='mentions_of_user'),
        ),
        migrations.AddIndex(
            model_name='notemention',
            index=models.Index(condition=models.Q(('seen_at', None)), fields=['user'], name='mentions_unread'),
        ),
        migrations.AddConstraint(
            model_name='notemention',
            constraint=models.UniqueConstraint(fields=('note', 'user'), name='one_mention_per_note_and_user'),
        ),
        # As migration 0007 does for the other tables with words of a chat.
        migrations.RunSQL(
            "CREATE OR REPLACE TRIGGER conversationnote_refuses_erased AFTER INSERT ON bridge_conversationnote "
            "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bridge_refuse_erased_chat();",
            migrations.RunSQL.noop,  # gone with its table
        ),
    ]
