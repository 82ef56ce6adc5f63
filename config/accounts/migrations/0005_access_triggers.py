"""Rules about tokens and service accounts that the database keeps, also for bulk updates and SQL."""

from django.db import migrations

# A chat channel on a token limits the token for good, also after the channel is deleted.
LIMIT_TOKENS = """
CREATE FUNCTION accounts_limit_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts_apitoken SET is_limited_to_channels = true WHERE id = NEW.apitoken_id AND NOT is_limited_to_channels;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_limit_token AFTER INSERT OR UPDATE ON accounts_apitoken_chat_channels
    FOR EACH ROW EXECUTE FUNCTION accounts_limit_token();
"""

# Reactivating a user restores no token.
REVOKE_TOKENS = """
CREATE FUNCTION accounts_revoke_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts_apitoken SET revoked_at = clock_timestamp() WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_revoke_tokens AFTER UPDATE OF is_active ON accounts_user
    FOR EACH ROW WHEN (OLD.is_active AND NOT NEW.is_active) EXECUTE FUNCTION accounts_revoke_tokens();
"""

# A service account has no role, no chats of its own and nothing to sign in with, and stays a service account.
REFUSE_SERVICES = """
CREATE FUNCTION accounts_refuse_service() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM accounts_user WHERE id = NEW.user_id AND kind = 'service') THEN
        RAISE EXCEPTION 'A service account cannot have a row in %.', TG_TABLE_NAME USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION accounts_keep_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The kind of a user cannot change.' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER accounts_keep_kind BEFORE UPDATE OF kind ON accounts_user
    FOR EACH ROW WHEN (OLD.kind IS DISTINCT FROM NEW.kind) EXECUTE FUNCTION accounts_keep_kind();
"""
TABLES_OF_PEOPLE = (
    "account_emailaddress",
    "accounts_user_groups",
    "accounts_user_user_permissions",
    "channels_setup_chatchannel_operators",
    "mfa_authenticator",
    "socialaccount_socialaccount",
)
REFUSE_ROWS = "".join(
    f"CREATE TRIGGER accounts_refuse_service BEFORE INSERT OR UPDATE OF user_id ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION accounts_refuse_service();\n"
    for table in TABLES_OF_PEOPLE
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_service_accounts"),
        ("account", "0001_initial"),
        ("channels_setup", "0001_initial"),
        ("mfa", "0001_initial"),
        ("socialaccount", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(LIMIT_TOKENS, "DROP FUNCTION accounts_limit_token CASCADE;"),
        migrations.RunSQL(REVOKE_TOKENS, "DROP FUNCTION accounts_revoke_tokens CASCADE;"),
        migrations.RunSQL(REFUSE_SERVICES, "DROP FUNCTION accounts_refuse_service, accounts_keep_kind CASCADE;"),
        migrations.RunSQL(REFUSE_ROWS, migrations.RunSQL.noop),  # gone with their functions
    ]
