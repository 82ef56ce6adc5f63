"""Leave space in the pages of tables whose rows change, and vacuum growing tables by small shares.

The locks (SHARE UPDATE EXCLUSIVE) block no reads and writes. Existing pages keep their rows.
"""

from django.db import migrations

# A changed row that stays in its page costs a few bytes of write-ahead log instead of a copy of the row. Deliveries and
# raw events have large rows that change twice; chats and windows have small ones.
STORAGE = {
    "bridge_delivery": "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02",
    "bridge_webhookevent": "fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02",
    "bridge_conversation": "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02",
    "bridge_servicewindow": "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02",
    "bridge_message": "autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02",
}


def set_storage(table, parameters):
    names = ", ".join(part.split("=")[0].strip() for part in parameters.split(","))
    return migrations.RunSQL(
        f"ALTER TABLE {table} SET ({parameters})", reverse_sql=f"ALTER TABLE {table} RESET ({names})"
    )


class Migration(migrations.Migration):

    atomic = False  # each lock ends with its statement

    dependencies = [
        ('bridge', '0010_drop_covered_indexes'),
    ]

    operations = [set_storage(table, parameters) for table, parameters in STORAGE.items()]
