"""Delete rules in the database for tables and columns that came after migration 0017.

The release before does not know them. If it deletes a row that they refer to, such as the chat of a merge or a user,
Django's own rules do not run, and the foreign key refuses the deletion at the commit. Columns with PROTECT keep their
refusal: notes and lines of a chat must not go with it.
"""

from django.db import migrations

CASCADE, SET_NULL = "CASCADE", "SET NULL"
# Table, column, table that it refers to, rule, name of the constraint as Django gave it.
RULES = (
    ("bridge_conversationactivity", "actor_id", "accounts_user", SET_NULL, "bridge_conversationa_actor_id_b881aa38_fk_accounts_"),
    ("bridge_conversationactivity", "ticket_id", "bridge_ticket", SET_NULL, "bridge_conversationa_ticket_id_1cd97009_fk_bridge_ti"),
    ("bridge_channelautomation", "chat_channel_id", "channels_setup_chatchannel", CASCADE, "bridge_channelautoma_chat_channel_id_61a185cb_fk_channels_"),
    ("bridge_channelautomation", "team_id", "channels_setup_team", SET_NULL, "bridge_channelautoma_team_id_2e510f07_fk_channels_"),
    ("bridge_automaticassignment", "conversation_id", "bridge_conversation", CASCADE, "bridge_automaticassi_conversation_id_8286c258_fk_bridge_co"),
    ("bridge_automaticassignment", "ticket_id", "bridge_ticket", CASCADE, "bridge_automaticassi_ticket_id_9fb8347a_fk_bridge_ti"),
    ("bridge_automaticassignment", "user_id", "accounts_user", CASCADE, "bridge_automaticassignment_user_id_66d25d1e_fk_accounts_user_id"),
    ("bridge_automaticreply", "conversation_id", "bridge_conversation", CASCADE, "bridge_automaticrepl_conversation_id_6c0fb7d5_fk_bridge_co"),
    ("bridge_automaticreply", "window_id", "bridge_servicewindow", CASCADE, "bridge_automaticrepl_window_id_9be26982_fk_bridge_se"),
    ("bridge_automaticreply", "message_id", "bridge_message", SET_NULL, "bridge_automaticreply_message_id_b2d01e48_fk_bridge_message_id"),
    ("bridge_snooze", "conversation_id", "bridge_conversation", CASCADE, "bridge_snooze_conversation_id_9fba4a24_fk_bridge_co"),
    ("bridge_snooze", "user_id", "accounts_user", SET_NULL, "bridge_snooze_user_id_4b1f2d13_fk_accounts_user_id"),
    ("bridge_macro_chat_channels", "macro_id", "bridge_macro", CASCADE, "bridge_macro_chat_channels_macro_id_f61416c3_fk_bridge_macro_id"),
    ("bridge_macro_chat_channels", "chatchannel_id", "channels_setup_chatchannel", CASCADE, "bridge_macro_chat_ch_chatchannel_id_5240979a_fk_channels_"),
    ("bridge_macro", "owner_id", "accounts_user", CASCADE, "bridge_macro_owner_id_9bd2b025_fk_accounts_user_id"),
    ("bridge_macro", "assign_user_id", "accounts_user", SET_NULL, "bridge_macro_assign_user_id_22060c4f_fk_accounts_user_id"),
    ("bridge_macro", "assign_team_id", "channels_setup_team", SET_NULL, "bridge_macro_assign_team_id_0ac16181_fk_channels_setup_team_id"),
    ("bridge_operatoravailability", "user_id", "accounts_user", CASCADE, "bridge_operatoravail_user_id_553fa2ad_fk_accounts_"),
    ("bridge_contactconsent", "contact_id", "bridge_contact", CASCADE, "bridge_contactconsent_contact_id_7dccbca8_fk_bridge_contact_id"),
    ("bridge_contactconsent", "opt_out_by_id", "accounts_user", SET_NULL, "bridge_contactconsen_opt_out_by_id_34bedbf3_fk_accounts_"),
    ("bridge_contactconsent", "recorded_by_id", "accounts_user", SET_NULL, "bridge_contactconsen_recorded_by_id_f03a509a_fk_accounts_"),
    ("bridge_chatpin", "user_id", "accounts_user", CASCADE, "bridge_chatpin_user_id_ac029c60_fk_accounts_user_id"),
    ("bridge_chatpin", "conversation_id", "bridge_conversation", CASCADE, "bridge_chatpin_conversation_id_370d7722_fk_bridge_co"),
    ("bridge_cannedresponse", "owner_id", "accounts_user", CASCADE, "bridge_cannedresponse_owner_id_8a35cc5b_fk_accounts_user_id"),
    ("bridge_contactimport", "author_id", "accounts_user", CASCADE, "bridge_contactimport_author_id_264ba7ee_fk_accounts_user_id"),
    ("bridge_contactimport", "api_channel_id", "channels_setup_apichannel", CASCADE, "bridge_contactimport_api_channel_id_5acaa949_fk_channels_"),
    ("bridge_desksettings", "user_id", "accounts_user", CASCADE, "bridge_desksettings_user_id_34ea6e79_fk_accounts_user_id"),
    ("bridge_conversationnote", "author_id", "accounts_user", SET_NULL, "bridge_conversationnote_author_id_b5fc5156_fk_accounts_user_id"),
    ("bridge_conversationnote", "ticket_id", "bridge_ticket", SET_NULL, "bridge_conversationnote_ticket_id_be960cfe_fk_bridge_ticket_id"),
    ("bridge_notemention", "note_id", "bridge_conversationnote", CASCADE, "bridge_notemention_note_id_6f666a1b_fk_bridge_co"),
    ("bridge_notemention", "user_id", "accounts_user", CASCADE, "bridge_notemention_user_id_5f3756a0_fk_accounts_user_id"),
    ("bridge_notification", "user_id", "accounts_user", CASCADE, "bridge_notification_user_id_ad4ac3de_fk_accounts_user_id"),
    ("bridge_notification", "conversation_id", "bridge_conversation", CASCADE, "bridge_notification_conversation_id_0d4c9e06_fk_bridge_co"),
    ("bridge_notification", "actor_id", "accounts_user", SET_NULL, "bridge_notification_actor_id_e27df45d_fk_accounts_user_id"),
    ("bridge_notificationsettings", "user_id", "accounts_user", CASCADE, "bridge_notifications_user_id_80fc6ce6_fk_accounts_"),
    ("bridge_pushsubscription", "user_id", "accounts_user", CASCADE, "bridge_pushsubscription_user_id_be32458c_fk_accounts_user_id"),
    ("bridge_pushmessage", "subscription_id", "bridge_pushsubscription", CASCADE, "bridge_pushmessage_subscription_id_acf57cd6_fk_bridge_pu"),
    ("bridge_pushmessage", "conversation_id", "bridge_conversation", CASCADE, "bridge_pushmessage_conversation_id_25bb3a63_fk_bridge_co"),
    ("bridge_pushmessage", "notification_id", "bridge_notification", CASCADE, "bridge_pushmessage_notification_id_9517f9e8_fk_bridge_no"),
    ("bridge_savedview", "owner_id", "accounts_user", CASCADE, "bridge_savedview_owner_id_a0817bc7_fk_accounts_user_id"),
    ("bridge_savedview", "team_id", "channels_setup_team", CASCADE, "bridge_savedview_team_id_74c1ac3d_fk_channels_setup_team_id"),
)
# Words of notes in notifications of before migration 0032: nothing says to which note they belong, so they would outlive
# a deleted one. Mentions are few, and notifications are not kept for long.
FORGET_WORDS = "UPDATE bridge_notification SET text = '' WHERE kind = 'mentioned' AND note_id IS NULL AND text <> ''"


def set_rule(table, column, target, rule, name):
    """Replace a foreign key. The locks of the first statement last a moment, the second one blocks no writes."""
    return [
        migrations.RunSQL(
            f'ALTER TABLE {table} DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}" FOREIGN KEY ({column}) '
            f"REFERENCES {target} (id) ON DELETE {rule} DEFERRABLE INITIALLY DEFERRED NOT VALID",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(f'ALTER TABLE {table} VALIDATE CONSTRAINT "{name}"', migrations.RunSQL.noop),
    ]


class Migration(migrations.Migration):
    atomic = False  # each table is locked for its own statement only

    dependencies = [
        ("bridge", "0039_listed_contacts"),
    ]

    operations = [
        *(operation for rule in RULES for operation in set_rule(*rule)),
        migrations.RunSQL(FORGET_WORDS, migrations.RunSQL.noop),
    ]
