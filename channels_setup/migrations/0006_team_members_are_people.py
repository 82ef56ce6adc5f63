"""Refuse service accounts as members of teams."""

from django.db import migrations

CREATE = """
CREATE TRIGGER accounts_refuse_service BEFORE INSERT OR UPDATE OF user_id ON channels_setup_team_members
FOR EACH ROW EXECUTE FUNCTION accounts_refuse_service()
"""
DROP = "DROP TRIGGER accounts_refuse_service ON channels_setup_team_members"


class Migration(migrations.Migration):
    dependencies = [("channels_setup", "0005_retention"), ("accounts", "0005_access_triggers")]

    operations = [migrations.RunSQL(CREATE, DROP)]
