"""Chats that an operator pins to the top of their own lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils.translation import gettext as _

from bridge.models import ChatPin, Conversation

MAX_PINS = 20  # per operator; all of them are on the list's first page


class PinRefused(Exception):
    """No more chats can be pinned. The text is a sentence for the user."""


@transaction.atomic
def pin_chats(user: Any, chats: Sequence[int]) -> list[int]:
    """Pin chats that the user may see. Return those that were not pinned. Raises PinRefused above MAX_PINS.

    Pins of chats that the user no longer sees do not count, because they could not be removed.
    """
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)  # two tabs must not exceed the limit
    visible = Conversation.objects.all().visible_to(user)
    pinned = set(ChatPin.objects.filter(user=user, conversation__in=visible).values_list("conversation", flat=True))
    new = [pk for pk in chats if pk not in pinned]
    if new and len(pinned) + len(new) > MAX_PINS:
        raise PinRefused(_("You can pin %(most)d chats at most. Unpin one first.") % {"most": MAX_PINS})
    ChatPin.objects.bulk_create([ChatPin(user=user, conversation_id=pk) for pk in new], ignore_conflicts=True)
    return new


def unpin_chats(user: Any, chats: Sequence[int]) -> list[int]:
    """Unpin chats. Return those that were pinned."""
    rows = ChatPin.objects.filter(user=user, conversation__in=chats)
    pinned = list(rows.values_list("conversation", flat=True))
    rows.delete()
    return pinned


def find_pinned(user_id: int) -> list[int]:
    """Return the IDs of the chats that the user has pinned, whether the user may see them or not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT conversation_id FROM bridge_chatpin WHERE user_id = %s", [user_id])
        return [pk for (pk,) in cursor.fetchall()]
