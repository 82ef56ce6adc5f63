"""Indexes of the Contacts page."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # the indexes are built concurrently

    dependencies = [
        ("bridge", "0024_contact_consents"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='contactconsent',
            index=models.Index(
                condition=models.Q(('opt_out', ''), _negated=True), fields=['contact'], name='consents_opted_out'
            ),
        ),
        AddIndexConcurrently(
            model_name='contactconsent',
            index=models.Index(
                condition=models.Q(('source', ''), _negated=True), fields=['contact'], name='consents_recorded'
            ),
        ),
        AddIndexConcurrently(
            model_name='contact',
            index=models.Index(
                condition=models.Q(('erased_at', None), ('merged_into', None)),
                fields=['name', 'id'],
                name='contacts_by_name',
            ),
        ),
        AddIndexConcurrently(
            model_name='contact',
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(('tags', []), _negated=True),
                fields=['tags'],
                name='contacts_by_tag',
                opclasses=['jsonb_path_ops'],
            ),
        ),
    ]
