from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bridge', '0033_undo_of_imports'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContactField',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60, unique=True, verbose_name='name')),
                ('kind', models.CharField(choices=[('text', 'text'), ('choice', 'one of several values'), ('checkbox', 'checkbox')], default='text', max_length=10, verbose_name='kind')),
                ('choices', models.TextField(blank=True, help_text='One per line, for a field of this kind.', verbose_name='values')),
                ('position', models.PositiveSmallIntegerField(default=0, help_text='Fields with a lower number come first.', verbose_name='position')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
            ],
            options={
                'verbose_name': 'additional field of clients',
                'verbose_name_plural': 'additional fields of clients',
                'ordering': ['position', 'id'],
            },
        ),
        migrations.AlterField(
            model_name='contactchange',
            name='field',
            field=models.CharField(choices=[('name', 'name'), ('phone', 'phone'), ('email', 'email'), ('note', 'note'), ('field', 'field')], max_length=10, verbose_name='field'),
        ),
    ]
