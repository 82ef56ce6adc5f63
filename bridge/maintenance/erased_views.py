"""Erasure of saved views that name a person: in their name, search or tag."""

from __future__ import annotations

from django.db import connection

from bridge.models import Contact, SavedView
from bridge.models.search import split_words

FIND_SQL = """
SELECT id FROM bridge_savedview
WHERE encode(convert_to(concat_ws(' ', name, filters::text), 'UTF8'), 'escape') ~ %s
"""


def erase_views(contact: Contact, pattern: str) -> int:
    """Delete the views with an identifier of the person, or with all words of their name. Return how many.

    A first name alone is not the person's: a view for "Anna" stays.
    """
    found: set[int] = set()
    if pattern:
        with connection.cursor() as cursor:
            cursor.execute(FIND_SQL, [pattern])
            found |= {row[0] for row in cursor.fetchall()}
    name = split_words(contact.name)
    for view in SavedView.objects.only("name", "filters").iterator():
        texts = [split_words(text) for text in (view.name, view.filters.get("q", ""), view.filters.get("tag", ""))]
        if (len(name) > 1 and set(name) <= {word for words in texts for word in words}) or (name and name in texts):
            found.add(view.pk)
    return SavedView.objects.filter(pk__in=found).delete()[0]
