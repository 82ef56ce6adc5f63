"""Drop the table of rest_framework.authtoken with what it left in Django's own tables."""

from django.db import migrations


def forget_app(apps, schema_editor):
    """Remove the app's permissions and content types; groups lose those permissions, admin history stays."""
    apps.get_model("contenttypes", "ContentType").objects.filter(app_label="authtoken").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0002_hash_existing_tokens"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunSQL("DROP TABLE IF EXISTS authtoken_token", migrations.RunSQL.noop),
        # An older version that is put back makes its table again, empty.
        migrations.RunSQL("DELETE FROM django_migrations WHERE app = 'authtoken'", migrations.RunSQL.noop),
        migrations.RunPython(forget_app, migrations.RunPython.noop),
    ]
