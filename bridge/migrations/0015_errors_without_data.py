from django.db import migrations

# Errors of the release before quote what failed, for example "DETAIL: Failing row contains (…)". The type of the error is
# kept. Events that failed because of the schema are processed again: their error is one that the new release recognizes.
REMOVE_DATA = """
UPDATE bridge_webhookevent SET
    traceback = '',
    error = CASE
        WHEN error ~ '^(ProgrammingError|IntegrityError): ((column|relation|function) .* does not exist|null value in)'
            THEN split_part(error, ':', 1) || CASE WHEN error LIKE 'Prog%' THEN ': 42703' ELSE ': 23502' END
        ELSE split_part(error, ':', 1)
    END
WHERE state = 'failed' AND traceback <> ''
"""


class Migration(migrations.Migration):
    dependencies = [("bridge", "0014_lookup_indexes")]

    operations = [migrations.RunSQL(REMOVE_DATA, migrations.RunSQL.noop)]
