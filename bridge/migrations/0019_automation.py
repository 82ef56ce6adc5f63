import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # each table is locked for its own statement only

    dependencies = [
        ('bridge', '0018_desk_settings'),
        ('channels_setup', '0010_archived_channels'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AutomaticAssignment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('was_gone', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'automatic assignment',
                'verbose_name_plural': 'automatic assignments',
            },
        ),
        migrations.CreateModel(
            name='AutomaticReply',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('away', 'reply outside working hours'), ('greeting', 'greeting')], max_length=10)),
                ('reason', models.CharField(blank=True, max_length=40)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'automatic reply',
                'verbose_name_plural': 'automatic replies',
            },
        ),
        migrations.CreateModel(
            name='ChannelAutomation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('assigns_chats', models.BooleanField(default=False, help_text='An unassigned chat that waits for a reply goes to the online operator with the fewest waiting chats. If no operator is online, it waits.', verbose_name='assign chats automatically')),
                ('max_waiting_chats', models.PositiveSmallIntegerField(blank=True, help_text='An operator with this many waiting chats gets no more. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='waiting chats per operator, at most')),
                ('prefers_former_assignee', models.BooleanField(default=True, help_text='If this operator is online and below the limit.', verbose_name='prefer the operator who helped the client last')),
                ('returns_after_minutes', models.PositiveSmallIntegerField(blank=True, help_text='A waiting chat whose operator has been offline or away for so long goes to a colleague who is online. Empty: it stays.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1440)], verbose_name='reassign if the operator is gone for, minutes')),
                ('away_text', models.TextField(blank=True, help_text='Sent once per 24-hour window to a client who writes outside working hours, unless an operator has replied since closing time. The chat stays in “Needs reply”. Variables: {first name}, {client name}, {channel}, {opens}. Empty: no reply.', max_length=4096, verbose_name='reply outside working hours')),
                ('greeting_text', models.TextField(blank=True, help_text='Sent once to a client who writes for the first time, during working hours. Variables: {first name}, {client name}, {channel}. Empty: no greeting.', max_length=4096, verbose_name='greeting')),
            ],
            options={
                'verbose_name': 'automation of a chat channel',
                'verbose_name_plural': 'automation of chat channels',
            },
        ),
        migrations.CreateModel(
            name='Macro',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('reply_text', models.TextField(blank=True, help_text="With the variables of quick replies. After the window has closed, only a template's text is sent.", max_length=4096, verbose_name='reply to the client')),
                ('note_text', models.TextField(blank=True, max_length=4096, verbose_name='internal note')),
                ('add_tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, size=None, verbose_name='add tags')),
                ('remove_tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, size=None, verbose_name='remove tags')),
                ('assignment', models.CharField(blank=True, choices=[('', 'do not change'), ('me', 'the person who runs it'), ('nobody', 'nobody'), ('user', 'a person'), ('team', 'a team')], default='', max_length=10, verbose_name='assign to')),
                ('status', models.SmallIntegerField(blank=True, choices=[(1, 'open'), (6, 'pending'), (5, 'on hold'), (2, 'solved'), (3, 'closed'), (7, 'spam')], null=True, verbose_name='status of the request')),
                ('snooze', models.CharField(blank=True, choices=[('', 'do not snooze'), ('later', 'for 3 hours'), ('tomorrow', 'until tomorrow, 9:00'), ('monday', 'until Monday, 9:00'), ('reply', 'until the client writes')], default='', max_length=10, verbose_name='snooze')),
                ('is_used', models.BooleanField(default=True, verbose_name='in use')),
                ('updated_at', models.DateTimeField(auto_now=True, verbose_name='changed')),
            ],
            options={
                'verbose_name': 'macro',
                'verbose_name_plural': 'macros',
            },
        ),
        migrations.CreateModel(
            name='Snooze',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('until', models.DateTimeField(null=True)),
                ('is_before_closing', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'snoozed chat',
                'verbose_name_plural': 'snoozed chats',
            },
        ),
        migrations.AddField(
            model_name='cannedresponse',
            name='folder',
            field=models.CharField(blank=True, db_default='', default='', max_length=60, verbose_name='folder'),
        ),
        migrations.AddField(
            model_name='cannedresponse',
            name='owner',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='owner'),
        ),
        migrations.AddField(
            model_name='conversation',
            name='snoozed_until',
            field=models.DateTimeField(editable=False, null=True, verbose_name='snoozed until'),
        ),
        migrations.AddField(
            model_name='automaticassignment',
            name='conversation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='automatic_assignments', to='bridge.conversation'),
        ),
        migrations.AddField(
            model_name='automaticassignment',
            name='ticket',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='bridge.ticket'),
        ),
        migrations.AddField(
            model_name='automaticassignment',
            name='user',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='automaticreply',
            name='conversation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='automatic_replies', to='bridge.conversation'),
        ),
        migrations.AddField(
            model_name='automaticreply',
            name='message',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='bridge.message'),
        ),
        migrations.AddField(
            model_name='automaticreply',
            name='window',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='bridge.servicewindow'),
        ),
        migrations.AddField(
            model_name='channelautomation',
            name='chat_channel',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='automation', to='channels_setup.chatchannel', verbose_name='chat channel'),
        ),
        migrations.AddField(
            model_name='channelautomation',
            name='team',
            field=models.ForeignKey(blank=True, help_text='Empty: to all operators of the channel. A chat of a team always goes to a member of that team.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='channels_setup.team', verbose_name='only to members of'),
        ),
        migrations.AddField(
            model_name='macro',
            name='assign_team',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='channels_setup.team', verbose_name='team'),
        ),
        migrations.AddField(
            model_name='macro',
            name='assign_user',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='person'),
        ),
        migrations.AddField(
            model_name='macro',
            name='chat_channels',
            field=models.ManyToManyField(blank=True, help_text='If none is selected, all chat channels have it.', related_name='+', to='channels_setup.chatchannel', verbose_name='chat channels'),
        ),
        migrations.AddField(
            model_name='macro',
            name='owner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='owner'),
        ),
        migrations.AddField(
            model_name='snooze',
            name='conversation',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='snooze', to='bridge.conversation'),
        ),
        migrations.AddField(
            model_name='snooze',
            name='user',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='automaticassignment',
            index=models.Index(fields=['user', '-created_at'], name='automatic_assignments_of_user'),
        ),
        migrations.AddIndex(
            model_name='automaticassignment',
            index=models.Index(fields=['created_at'], name='automatic_assignments_by_age'),
        ),
        migrations.AddConstraint(
            model_name='automaticreply',
            constraint=models.UniqueConstraint(fields=('window', 'kind'), name='one_automatic_reply_per_window'),
        ),
    ]
