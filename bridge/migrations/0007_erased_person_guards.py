"""Refuse data of erased people in the database: constraints, and triggers on insert."""

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models

# The lock makes an insert wait for a running erasure, and an erasure (``FOR UPDATE``) for a running insert. Writers
# that hold the chat's lock already, as the delivery path does, get it for nothing.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION bridge_refuse_erased_chat() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE refused boolean;
BEGIN
    SELECT bool_or(locked.is_erased) INTO refused FROM (
        SELECT c.is_erased FROM bridge_conversation c
        WHERE c.id IN (SELECT conversation_id FROM new_rows) FOR KEY SHARE OF c) locked;
    IF refused THEN
        RAISE EXCEPTION 'the person of this chat was erased'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'person_erased', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION bridge_refuse_erased_contact() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE refused boolean;
BEGIN
    SELECT bool_or(locked.erased_at IS NOT NULL) INTO refused FROM (
        SELECT p.erased_at FROM bridge_contact p
        WHERE p.id IN (SELECT contact_id FROM new_rows) FOR KEY SHARE OF p) locked;
    IF refused THEN
        RAISE EXCEPTION 'this person was erased'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'person_erased', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
"""
# Processes of the release before erase people without marking their chats. Deferred: the erasure itself still writes.
MARK_CHATS = """
CREATE OR REPLACE FUNCTION bridge_mark_erased_chats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge_conversation SET is_erased = true, last_text = '' WHERE contact_id = NEW.id AND NOT is_erased;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS contact_marks_erased_chats ON bridge_contact;
CREATE CONSTRAINT TRIGGER contact_marks_erased_chats AFTER UPDATE OF erased_at ON bridge_contact
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION bridge_mark_erased_chats();
"""
OF_CHATS = ("message", "draft", "heldreply", "ticket", "upload", "helpdeskchat", "helpdeskreply", "templatelink")
OF_CONTACTS = ("conversation", "contactnote", "contactchange", "formerid")


def _create_trigger(model: str, kind: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"CREATE OR REPLACE TRIGGER {model}_refuses_erased AFTER INSERT ON bridge_{model} "
        f"REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION bridge_refuse_erased_{kind}();",
        migrations.RunSQL.noop,  # gone with its function
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0006_erasure_records")]

    operations = [
        migrations.RunSQL(MARK_CHATS, "DROP FUNCTION bridge_mark_erased_chats CASCADE;"),
        # Earlier releases could write to an erased contact in a race.
        migrations.RunSQL(
            "UPDATE bridge_contact SET external_id = '', user_id = '', caller_id = '', username = '', phone = '', "
            "phone_key = '', address_key = '', name = '', email = '', tags = '[]', card = '{}' "
            "WHERE erased_at IS NOT NULL;",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            "UPDATE bridge_conversation c SET is_erased = true, last_text = '' FROM bridge_contact p "
            "WHERE p.id = c.contact_id AND p.erased_at IS NOT NULL AND NOT c.is_erased;",
            migrations.RunSQL.noop,
        ),
        AddConstraintNotValid(
            model_name="contact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("erased_at", None),
                    models.Q(
                        ("address_key", ""),
                        ("caller_id", ""),
                        ("card", {}),
                        ("email", ""),
                        ("external_id", ""),
                        ("name", ""),
                        ("phone", ""),
                        ("phone_key", ""),
                        ("tags", []),
                        ("user_id", ""),
                        ("username", ""),
                    ),
                    _connector="OR",
                ),
                name="erased_contact_is_empty",
            ),
        ),
        AddConstraintNotValid(
            model_name="conversation",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_erased", False), ("last_text", ""), _connector="OR"),
                name="erased_chat_has_no_text",
            ),
        ),
        ValidateConstraint(model_name="contact", name="erased_contact_is_empty"),
        ValidateConstraint(model_name="conversation", name="erased_chat_has_no_text"),
        migrations.RunSQL(FUNCTIONS, "DROP FUNCTION bridge_refuse_erased_chat, bridge_refuse_erased_contact CASCADE;"),
        *(_create_trigger(model, "chat") for model in OF_CHATS),
        *(_create_trigger(model, "contact") for model in OF_CONTACTS),
    ]
