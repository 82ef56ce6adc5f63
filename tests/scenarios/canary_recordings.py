"""The recorded Cloud API payloads with a word of its own in every text of one person, the client of the recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.cloud_corpus import PHONE_NUMBER_ID, Recording

PHONE, USER_ID = "447700900101", "GB.13491208655302741918"
SHOP_PHONE = "15550100801"
NOT_WORDS = {"type", "status", "timestamp", "id", "mime_type", "currency", "country_code", "birthday", "latitude"} | {
    *("longitude", "voice", "animated", "from", "to", "wa_id", "user_id", "from_user_id", "recipient_id", "href"),
    *("recipient_user_id", "message_id", "original_message_id", "source_url", "source_type", "source_id", "url"),
    *("sha256", "event", "action", "field", "catalog_id", "media_type", "creation_timestamp", "code", "emoji", "hash"),
    *("item_price", "quantity", "category", "model", "pricing_model", "group_id", "image_url", "video_url", "data"),
    *(
        "thumbnail_url",
        "ctwa_clid",
        "expiration_timestamp",
        "biz_opaque_callback_data",
        "wa_Id",
        "link",
        "parent_user_id",
    ),
}


class Canaries(dict[str, str]):
    """Words that must not be found, by the door through which they came."""

    def add(self, door: str) -> str:
        number = len(self) + 1
        # Even ones need escaping in JSON and URLs, odd ones do not.
        self[door] = f"кенар{number:03}зю" if number % 2 else f"quokka{number:03}zq"
        return self[door]


def fill_recording(recording: Recording, word: Canaries, send_message: Callable[[str], None]) -> Any:
    """Return the recording with a word in every text of the person, or None if it is not about the person.

    `send_message` creates the message that a status is about.
    """
    try:
        body = json.loads(recording.body)
    except ValueError:
        return None
    is_theirs = False
    for value in _list_values(body):
        metadata = value.get("metadata")
        if not isinstance(metadata, dict) or metadata.get("phone_number_id") != PHONE_NUMBER_ID:
            continue
        for item in _list_items(value):
            if not _is_of_person(item):
                continue
            is_theirs = True
            if isinstance(item.get("id"), str):
                item["id"] = f"{item['id'][:40]}-{recording.name}"
                if "status" in item:
                    send_message(item["id"])
            _put_word(item, word.add(f"cloud {recording.name}"))
    return body if is_theirs else None


def _list_values(body: Any) -> Iterator[dict[str, Any]]:
    for entry in body.get("entry") or [] if isinstance(body, dict) else []:
        for change in entry.get("changes") or [] if isinstance(entry, dict) else []:
            if isinstance(change, dict) and isinstance(change.get("value"), dict):
                yield change["value"]


def _list_items(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield messages, statuses, echoes and contact cards."""
    for name in ("contacts", "messages", "statuses", "message_echoes", "user_preferences"):
        rows = value.get(name)
        yield from (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def _is_of_person(item: dict[str, Any]) -> bool:
    names = ("from", "to", "recipient_id", "wa_id", "user_id", "from_user_id", "recipient_user_id")
    named = {item.get(name) for name in names} - {None, "", SHOP_PHONE}
    return bool(named & {PHONE, USER_ID}) and named <= {PHONE, USER_ID}


def _put_word(value: Any, word: str, key: str = "") -> None:
    """Append the word to every text of an item, in place."""
    rows: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(rows):
        label = name if isinstance(value, dict) else key
        if isinstance(inner, str) and label not in NOT_WORDS and inner:
            value[name] = f"{inner} {word}" if not inner.startswith("{") else inner.replace('"}', f' {word}"}}')
        elif isinstance(inner, dict | list) and label not in ("context",):
            _put_word(inner, word, str(label))
