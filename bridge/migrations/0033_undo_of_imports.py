from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the indexes are built concurrently

    dependencies = [
        ('bridge', '0032_notes_of_notifications'),
    ]

    operations = [
        migrations.AddField(
            model_name='contactimport',
            name='created',
            field=models.JSONField(db_default=models.Value({}, output_field=models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='contactimport',
            name='finished_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='contactimport',
            name='state',
            field=models.CharField(choices=[('draft', 'not applied yet'), ('running', 'running'), ('done', 'done'), ('undoing', 'being undone'), ('undone', 'undone')], db_default='draft', default='draft', max_length=10),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(condition=models.Q(('merged_contact__isnull', False)), fields=['merged_contact'], name='messages_of_merged'),
        ),
        AddIndexConcurrently(
            model_name='servicewindow',
            index=models.Index(condition=models.Q(('merged_contact__isnull', False)), fields=['merged_contact'], name='windows_of_merged'),
        ),
    ]
