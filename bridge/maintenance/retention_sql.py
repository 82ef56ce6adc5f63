"""SQL of ``retention``. Each statement may be repeated."""

UNFINISHED = "('pending', 'sending')"
ENDED_OR_SOLVED = "(2, 3, 4, 7, 10)"  # ``Ticket.ENDED`` and SOLVED; a test compares them

# --- messages ---

# Index: messages_to_expire.
FIND_OLD_MESSAGES = """
SELECT id, created_at FROM bridge_message
WHERE api_channel_id = %(channel)s AND expired_at IS NULL AND created_at < %(before)s
  AND (%(since)s::timestamptz IS NULL OR (created_at, id) > (%(since)s, %(last)s))
ORDER BY created_at, id LIMIT %(limit)s
"""
COUNT_OLD_MESSAGES = """
SELECT count(*) FROM (SELECT FROM bridge_message
    WHERE api_channel_id = %(channel)s AND expired_at IS NULL AND created_at < %(before)s LIMIT %(limit)s) old
"""
# Why each of them is kept: see ``retention``.
FIND_UNPROTECTED = f"""
SELECT m.id FROM bridge_message m
JOIN bridge_conversation c ON c.id = m.conversation_id
LEFT JOIN bridge_ticket t ON t.id = m.ticket_id
WHERE m.id = ANY(%(ids)s) AND m.expired_at IS NULL
  AND NOT EXISTS (SELECT FROM bridge_delivery d WHERE d.message_id = m.id AND d.state IN {UNFINISHED})
  AND NOT EXISTS (SELECT FROM bridge_heldreply h WHERE h.conversation_id = m.conversation_id AND h.state = 'held'
                  AND m.id IN (h.quoted_id, h.opening_template_id, h.message_id))
  AND NOT (m.direction = 'inbound'
           AND EXISTS (SELECT FROM bridge_servicewindow w WHERE w.conversation_id = m.conversation_id
                       AND w.state = 'open')
           AND m.id = (SELECT max(l.id) FROM bridge_message l WHERE l.conversation_id = m.conversation_id
                       AND l.direction = 'inbound'))
  AND NOT (t.id IS NOT NULL AND t.status NOT IN {ENDED_OR_SOLVED} AND c.last_message_at >= %(before)s)
ORDER BY m.id
"""
# A delivery that was given up cannot be sent any more: its content is gone.
_CLEARED = """
    payload = '{}',
    reason = CASE WHEN d.state IN ('dead', 'unknown') THEN 'content_deleted' ELSE d.reason END,
    state = CASE WHEN d.state IN ('dead', 'unknown') THEN 'cancelled' ELSE d.state END
"""
CLEAR_COPIES = (
    f"""UPDATE bridge_delivery d SET {_CLEARED}
        WHERE d.message_id = ANY(%(ids)s) AND d.state NOT IN {UNFINISHED} AND d.payload <> '{{}}'""",
    """UPDATE bridge_attempt a SET answer = '' FROM bridge_delivery d
       WHERE d.message_id = ANY(%(ids)s) AND a.delivery_id = d.id AND a.answer <> ''""",
    "DELETE FROM bridge_helpdeskreply WHERE message_id = ANY(%(ids)s)",
    """UPDATE bridge_mismatch SET external_id = '' WHERE message_id = ANY(%(ids)s) AND external_id <> ''""",
    """UPDATE bridge_ticket t SET first_text = '', subject = '' FROM bridge_message m
       WHERE m.id = ANY(%(ids)s) AND t.id = m.ticket_id AND t.opened_at < %(before)s
         AND (t.first_text <> '' OR t.subject <> '')""",
    """UPDATE bridge_conversation c SET last_text = '' FROM bridge_message m
       WHERE m.id = ANY(%(ids)s) AND c.id = m.conversation_id AND c.last_message_at < %(before)s
         AND c.last_text <> ''""",
)
CLEAR_MESSAGES = f"""
WITH old AS MATERIALIZED (
    SELECT id FROM bridge_message m WHERE id = ANY(%(ids)s) AND expired_at IS NULL
      AND NOT EXISTS (SELECT FROM bridge_delivery d WHERE d.message_id = m.id AND d.state IN {UNFINISHED})
    FOR NO KEY UPDATE SKIP LOCKED)
UPDATE bridge_message m SET
    text = '', external_id = '', shown = '{{}}', reactions = '[]', expired_at = clock_timestamp(),
    template = CASE WHEN jsonb_typeof(template) = 'object'
        THEN jsonb_build_object('name', template -> 'name', 'language', template -> 'language') END,
    details = CASE WHEN details ? 'code' THEN jsonb_build_object('code', details -> 'code') ELSE '{{}}' END
FROM old WHERE m.id = old.id
"""

# --- rows of a chat that belong to no message ---

# Index: deliveries_to_expire.
FIND_OLD_DELIVERIES = f"""
SELECT d.id, d.created_at FROM bridge_delivery d JOIN bridge_conversation c ON c.id = d.conversation_id
WHERE d.message_id IS NULL AND d.payload <> '{{}}' AND d.created_at < %(before)s
  AND c.api_channel_id = %(channel)s AND d.state NOT IN {UNFINISHED}
  AND (%(since)s::timestamptz IS NULL OR (d.created_at, d.id) > (%(since)s, %(last)s))
ORDER BY d.created_at, d.id LIMIT %(limit)s
"""
CLEAR_DELIVERIES = f"""
WITH cleared AS (
    UPDATE bridge_delivery d SET {_CLEARED} WHERE d.id = ANY(%(ids)s) AND d.state NOT IN {UNFINISHED} RETURNING d.id)
UPDATE bridge_attempt a SET answer = '' FROM cleared WHERE a.delivery_id = cleared.id AND a.answer <> ''
"""
CLEAR_OLD_ROWS = (
    """DELETE FROM bridge_draft WHERE id IN (
         SELECT r.id FROM bridge_draft r JOIN bridge_conversation c ON c.id = r.conversation_id
         WHERE c.api_channel_id = %(channel)s AND r.updated_at < %(before)s LIMIT %(limit)s)""",
    # Mentions have a foreign key without ON DELETE in the database.
    """WITH old AS (
         SELECT r.id FROM bridge_conversationnote r JOIN bridge_conversation c ON c.id = r.conversation_id
         WHERE c.api_channel_id = %(channel)s AND r.created_at < %(before)s LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED
       ), mentions AS (DELETE FROM bridge_notemention WHERE note_id IN (SELECT id FROM old)),
       notices AS (DELETE FROM bridge_notification WHERE note_id IN (SELECT id FROM old))
       DELETE FROM bridge_conversationnote WHERE id IN (SELECT id FROM old)""",
    """DELETE FROM bridge_conversationactivity WHERE id IN (
         SELECT r.id FROM bridge_conversationactivity r JOIN bridge_conversation c ON c.id = r.conversation_id
         WHERE c.api_channel_id = %(channel)s AND r.created_at < %(before)s LIMIT %(limit)s)""",
    """UPDATE bridge_heldreply SET text = '' WHERE id IN (
         SELECT r.id FROM bridge_heldreply r JOIN bridge_conversation c ON c.id = r.conversation_id
         WHERE c.api_channel_id = %(channel)s AND r.state <> 'held' AND r.finished_at < %(before)s AND r.text <> ''
         LIMIT %(limit)s)""",
    """DELETE FROM bridge_pendingcorrection WHERE id IN (
         SELECT id FROM bridge_pendingcorrection WHERE api_channel_id = %(channel)s AND received_at < %(before)s
         ORDER BY received_at LIMIT %(limit)s)""",
)

# --- files and raw requests ---

# Index: files_to_expire. Files are in the order of their messages: the first page without an old one ends the search.
FIND_OLD_FILES = f"""
SELECT a.id, m.created_at < %(before)s, m.created_at < %(before)s AND m.api_channel_id = %(channel)s
  AND NOT EXISTS (SELECT FROM bridge_delivery d WHERE d.message_id = m.id AND d.state IN {UNFINISHED})
FROM bridge_attachment a JOIN bridge_message m ON m.id = a.message_id
WHERE a.state <> 'expired' AND a.id > %(last)s
ORDER BY a.id LIMIT %(limit)s
"""
FIND_OLD_UPLOADS = f"""
SELECT u.id, u.created_at FROM bridge_upload u JOIN bridge_conversation c ON c.id = u.conversation_id
WHERE c.api_channel_id = %(channel)s AND u.created_at < %(before)s AND u.message_id IS NOT NULL
  AND (%(since)s::timestamptz IS NULL OR u.id > %(last)s)
  AND NOT EXISTS (SELECT FROM bridge_delivery d WHERE d.message_id = u.message_id AND d.state IN {UNFINISHED})
ORDER BY u.id LIMIT %(limit)s
"""
# Index: events_of_channel.
FIND_OLD_EVENTS = """
SELECT id, received_at FROM bridge_webhookevent
WHERE received_at < %(before)s AND api_channel_id = %(channel)s AND state <> 'new'
  AND (%(since)s::timestamptz IS NULL OR (received_at, id) > (%(since)s, %(last)s))
ORDER BY received_at, id LIMIT %(limit)s
"""
DELETE_EVENTS = "DELETE FROM bridge_webhookevent WHERE id = ANY(%(ids)s) AND state <> 'new'"
