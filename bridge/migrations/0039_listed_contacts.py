from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0038_unread_marks'),
    ]

    operations = [
        migrations.AddField(
            model_name='contactimport',
            name='listed',
            field=models.JSONField(db_default=models.Value([], output_field=models.JSONField()), default=list),
        ),
    ]
