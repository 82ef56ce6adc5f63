"""Move the tokens of rest_framework.authtoken into the new table, hashed, and drop the old one.

Programs go on calling with the token that they have. The copy is one statement inside the database: there was at
most one token per user, and no token leaves the server on the way.
"""

from django.db import migrations

COPY = """
INSERT INTO config_apitoken (user_id, name, prefix, digest, created_at)
SELECT t.user_id, 'API', left(t.key, 6), sha256(convert_to(t.key, 'UTF8')), t.created
FROM authtoken_token t ORDER BY t.created
ON CONFLICT (digest) DO NOTHING
"""


def copy_tokens(apps, schema_editor):
    """Copy where the old table exists: a new installation never had it."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('authtoken_token')")
        if cursor.fetchone()[0] is not None:
            cursor.execute(COPY)


class Migration(migrations.Migration):
    dependencies = [("config", "0001_api_tokens")]

    operations = [migrations.RunPython(copy_tokens, migrations.RunPython.noop)]
