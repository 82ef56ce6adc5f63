"""Presence in open chats: who else is viewing or writing. Short-lived marks in Valkey, updated by each poll.

The desk works without them: if Valkey fails, it shows nobody. Marks expire when a page is closed, a laptop sleeps
or the network breaks.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from django.utils.translation import gettext as _

from bridge.desk import presentation
from bridge.optional_redis import OptionalRedis

logger = logging.getLogger(__name__)

PRESENT_SECONDS = 8.0  # a visible desk polls every 1.5 s; allows for slow polls
KEY_SECONDS = 60

store = OptionalRedis(timeout=0.2)


@dataclass(frozen=True, kw_only=True)
class Presence:
    """Other users in the chat: those who write, and those who only view it."""

    writing: list[str]
    looking: list[str]

    @property
    def version(self) -> str:
        return f"{zlib.crc32(repr(self).encode()):x}" if self.writing or self.looking else ""

    @property
    def sentence(self) -> str:
        if self.writing:
            if len(self.writing) == 1:
                return _("%(name)s is writing here.") % {"name": self.writing[0]}
            return _("%(names)s are writing here.") % {"names": ", ".join(self.writing)}
        if len(self.looking) == 1:
            return _("%(name)s has this chat open too.") % {"name": self.looking[0]}
        if self.looking:
            return _("%(names)s have this chat open too.") % {"names": ", ".join(self.looking)}
        return ""

    @property
    def as_json(self) -> dict[str, Any]:
        return {"version": self.version, "sentence": self.sentence, "writing": bool(self.writing)}


NO_PRESENCE = Presence(writing=[], looking=[])


def record_heartbeat(conversation_id: int, *, user: Any, writes: bool, is_here: bool) -> Presence:
    """Record the user's presence if the page is visible, and return the presence of others."""
    if store.is_paused:
        return NO_PRESENCE
    key = f"okno:here:{conversation_id}"
    now = time.time()
    try:
        with store.client.pipeline(transaction=False) as pipe:
            if is_here:
                mark = {"name": presentation.person_name(user), "writes": writes, "until": now + PRESENT_SECONDS}
                pipe.hset(key, str(user.pk), json.dumps(mark))
                pipe.expire(key, KEY_SECONDS)
            pipe.hgetall(key)
            found: Mapping[bytes, bytes] = pipe.execute()[-1]
    except redis.RedisError as error:
        store.pause()
        logger.warning("presence not available", extra={"error": type(error).__name__})
        return NO_PRESENCE
    return _parse_marks(found, own=str(user.pk).encode(), now=now)


def find_colleagues(conversation_ids: Sequence[int], *, user: Any) -> dict[int, Presence]:
    """Return the presence of others in each chat that has one. Empty if Valkey fails."""
    if store.is_paused or not conversation_ids:
        return {}
    try:
        with store.client.pipeline(transaction=False) as pipe:
            for pk in conversation_ids:
                pipe.hgetall(f"okno:here:{pk}")
            found: list[Mapping[bytes, bytes]] = pipe.execute()
    except redis.RedisError as error:
        store.pause()
        logger.warning("presence not available", extra={"error": type(error).__name__})
        return {}
    own, now = str(user.pk).encode(), time.time()
    parsed = {pk: _parse_marks(marks, own=own, now=now) for pk, marks in zip(conversation_ids, found, strict=True)}
    return {pk: presence for pk, presence in parsed.items() if presence.version}


def find_viewers(conversation_id: int) -> set[int]:
    """Return the IDs of the users who see the chat now. Empty if Valkey fails."""
    if store.is_paused:
        return set()
    try:
        found: Any = store.client.hgetall(f"okno:here:{conversation_id}")
    except redis.RedisError as error:
        store.pause()
        logger.warning("presence not available", extra={"error": type(error).__name__})
        return set()
    now = time.time()
    return {int(pk) for pk, text in found.items() if json.loads(text)["until"] > now}


def _parse_marks(found: Mapping[bytes, bytes], *, own: bytes, now: float) -> Presence:
    writing: list[str] = []
    looking: list[str] = []
    for pk, text in sorted(found.items()):
        mark = json.loads(text)
        if pk != own and mark["until"] > now:
            (writing if mark["writes"] else looking).append(str(mark["name"]))
    return Presence(writing=writing, looking=looking)
