"""Consents and opt-outs of contacts."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("bridge", "0023_waiting_since"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ContactConsent',
            fields=[
                ('contact', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='consent', serialize=False, to='bridge.contact')),
                ('opt_out', models.CharField(blank=True, choices=[('', 'none'), ('marketing', 'marketing only'), ('all', 'all templates')], db_default='', default='', max_length=10, verbose_name='opted out of')),
                ('opt_out_source', models.CharField(blank=True, choices=[('words', "the client's message"), ('operator', 'an operator'), ('api', 'the API'), ('import', 'an import'), ('whatsapp', "WhatsApp's settings")], db_default='', default='', max_length=10)),
                ('opt_out_reason', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('opt_out_at', models.DateTimeField(null=True)),
                ('source', models.CharField(blank=True, choices=[('website', 'form on the website'), ('in_person', 'in person or by phone'), ('contract', 'contract or order'), ('channel', 'email or another messenger'), ('other', 'another way')], db_default='', default='', max_length=10, verbose_name='how the client agreed')),
                ('note', models.CharField(blank=True, db_default='', default='', max_length=200, verbose_name='note')),
                ('recorded_at', models.DateTimeField(null=True)),
                ('opt_out_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('recorded_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'consent',
                'verbose_name_plural': 'consents',
                'default_permissions': ('view',),
            },
        ),
        migrations.RunSQL(
            "CREATE OR REPLACE TRIGGER contactconsent_refuses_erased AFTER INSERT ON bridge_contactconsent "
            "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bridge_refuse_erased_contact();",
            migrations.RunSQL.noop,  # gone with the table
        ),
    ]
