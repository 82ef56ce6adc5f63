from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # each table is locked for its own statement only

    dependencies = [
        ('bridge', '0034_contact_fields'),
    ]

    operations = [
        migrations.AddField(
            model_name='attachment',
            name='height',
            field=models.IntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='attachment',
            name='width',
            field=models.IntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='upload',
            name='height',
            field=models.IntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='upload',
            name='width',
            field=models.IntegerField(editable=False, null=True),
        ),
    ]
