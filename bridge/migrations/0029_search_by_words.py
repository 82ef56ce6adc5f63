"""Search indexes that split words in the same way in every locale, and indexes for tags, emails and numbers.

Until its workers end, the release before searches messages and names without an index.
"""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.functions.text
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # the indexes are built and dropped concurrently

    dependencies = [
        ('bridge', '0028_tagged_contacts'),
        ('channels_setup', '0010_archived_channels'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='contact',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(models.Func(models.Func(models.Func(models.F('name'), models.Value('[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u00a9\\u00ab-\\u00b4\\u00b6-\\u00b9\\u00bb-\\u00bf\\u00d7\\u00f7\\u0589-\\u05c7\\u060c\\u061b\\u061f\\u066a-\\u066d\\u06d4\\u2000-\\u2bff\\u2e00-\\u2e7f\\u3000-\\u303f\\ue000-\\uf8ff\\ufe00-\\ufe6f\\ufeff-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\uffe0-\\uffff\\U0001f000-\\U0001ffff\\U000e0000-\\U000e0fff]+'), models.Value(' '), models.Value('g'), function='regexp_replace', output_field=models.CharField()), output_field=models.CharField(), template='normalize(%(expressions)s, NFKC)'), models.Value('[\\u0300-\\u036f\\u0483-\\u0487]+'), models.Value(''), models.Value('g'), function='regexp_replace', output_field=models.CharField()), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), django.db.models.functions.text.Right('phone', 3), django.db.models.functions.text.Right('phone', 4), django.db.models.functions.text.Right('phone', 5), django.db.models.functions.text.Right('phone', 6), django.db.models.functions.text.Right('phone', 7), django.db.models.functions.text.Right('phone', 8), django.db.models.functions.text.Right('phone', 9), django.db.models.functions.text.Right('phone', 10), django.db.models.functions.text.Right('phone', 11), django.db.models.functions.text.Right('phone', 12), django.db.models.functions.text.Right('phone', 13), config='simple'), name='contacts_by_text'),
        ),
        AddIndexConcurrently(
            model_name='contact',
            index=models.Index(django.db.models.functions.text.Lower('email'), condition=models.Q(('email', ''), _negated=True), name='contacts_by_email'),
        ),
        AddIndexConcurrently(
            model_name='contactnote',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(models.Func(models.Func(models.Func(django.db.models.functions.text.Left('text', 4000), models.Value('[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u00a9\\u00ab-\\u00b4\\u00b6-\\u00b9\\u00bb-\\u00bf\\u00d7\\u00f7\\u0589-\\u05c7\\u060c\\u061b\\u061f\\u066a-\\u066d\\u06d4\\u2000-\\u2bff\\u2e00-\\u2e7f\\u3000-\\u303f\\ue000-\\uf8ff\\ufe00-\\ufe6f\\ufeff-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\uffe0-\\uffff\\U0001f000-\\U0001ffff\\U000e0000-\\U000e0fff]+'), models.Value(' '), models.Value('g'), function='regexp_replace', output_field=models.CharField()), output_field=models.CharField(), template='normalize(%(expressions)s, NFKC)'), models.Value('[\\u0300-\\u036f\\u0483-\\u0487]+'), models.Value(''), models.Value('g'), function='regexp_replace', output_field=models.CharField()), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), config='russian'), name='contact_notes_by_text'),
        ),
        AddIndexConcurrently(
            model_name='conversationnote',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(models.Func(models.Func(models.Func(django.db.models.functions.text.Left('text', 4000), models.Value('[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u00a9\\u00ab-\\u00b4\\u00b6-\\u00b9\\u00bb-\\u00bf\\u00d7\\u00f7\\u0589-\\u05c7\\u060c\\u061b\\u061f\\u066a-\\u066d\\u06d4\\u2000-\\u2bff\\u2e00-\\u2e7f\\u3000-\\u303f\\ue000-\\uf8ff\\ufe00-\\ufe6f\\ufeff-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\uffe0-\\uffff\\U0001f000-\\U0001ffff\\U000e0000-\\U000e0fff]+'), models.Value(' '), models.Value('g'), function='regexp_replace', output_field=models.CharField()), output_field=models.CharField(), template='normalize(%(expressions)s, NFKC)'), models.Value('[\\u0300-\\u036f\\u0483-\\u0487]+'), models.Value(''), models.Value('g'), function='regexp_replace', output_field=models.CharField()), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), config='russian'), name='notes_by_text'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector(django.db.models.functions.text.Replace(django.db.models.functions.text.Replace(models.Func(models.Func(models.Func(django.db.models.functions.text.Left('text', 4000), models.Value('[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u00a9\\u00ab-\\u00b4\\u00b6-\\u00b9\\u00bb-\\u00bf\\u00d7\\u00f7\\u0589-\\u05c7\\u060c\\u061b\\u061f\\u066a-\\u066d\\u06d4\\u2000-\\u2bff\\u2e00-\\u2e7f\\u3000-\\u303f\\ue000-\\uf8ff\\ufe00-\\ufe6f\\ufeff-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\uffe0-\\uffff\\U0001f000-\\U0001ffff\\U000e0000-\\U000e0fff]+'), models.Value(' '), models.Value('g'), function='regexp_replace', output_field=models.CharField()), output_field=models.CharField(), template='normalize(%(expressions)s, NFKC)'), models.Value('[\\u0300-\\u036f\\u0483-\\u0487]+'), models.Value(''), models.Value('g'), function='regexp_replace', output_field=models.CharField()), models.Value('ё'), models.Value('е')), models.Value('Ё'), models.Value('Е')), config='russian'), name='messages_by_text'),
        ),
        AddIndexConcurrently(
            model_name='ticket',
            index=models.Index(condition=models.Q(('additional_id', ''), _negated=True), fields=['additional_id'], name='tickets_by_additional_id'),
        ),
        RemoveIndexConcurrently(
            model_name='contact',
            name='contacts_by_words',
        ),
        RemoveIndexConcurrently(
            model_name='conversationnote',
            name='notes_by_words',
        ),
        RemoveIndexConcurrently(
            model_name='message',
            name='messages_by_words',
        ),
    ]
