"""One person enters through every door, is erased, and is found nowhere: rows, raw requests, files, logs, Redis."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase

from bridge.inbox import processing
from bridge.models import Conversation, Erasure
from tests.scenarios.canary_recordings import PHONE
from tests.scenarios.captured_log import log
from tests.scenarios.personal_data_doors import PersonWorld
from tests.scenarios.trace_search import dump_database, find_traces, read_caches, read_folders
from tests.simulators.usedesk import UsedeskSimulator

__all__ = ["log"]  # fixture

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

PHONES = (PHONE, PHONE[2:], "447700900177")
# Words in requests of which nothing is stored: searches.
NEVER_STORED = ("search", "query")


@pytest.fixture
def folders(tmp_path: Path, settings: Any) -> list[Path]:
    settings.MEDIA_ROOT, settings.DATA_DIR = tmp_path / "media", tmp_path / "data"
    for folder in (settings.MEDIA_ROOT, settings.DATA_DIR):
        folder.mkdir()
    return [settings.MEDIA_ROOT, settings.DATA_DIR]


@pytest.fixture
def world(folders: list[Path], log: io.StringIO) -> Iterator[PersonWorld]:
    with UsedeskSimulator() as simulator:
        world = PersonWorld(simulator)
        world.send_everything()
        yield world


def search_everywhere(world: PersonWorld, folders: list[Path], log: io.StringIO) -> dict[str, list[str]]:
    """Return place → what is found there. Places are tables, and the files, caches and log."""
    places = dump_database() | {
        "files": read_folders(*folders),
        "caches": read_caches(),
        "log": log.getvalue().encode(),
    }
    found = find_traces(b"\n".join(places.values()), world.word, phones=PHONES)
    if not found:
        return {}
    by_place = {place: find_traces(data, world.word, phones=PHONES) for place, data in places.items()}
    return {place: names for place, names in by_place.items() if names}


def erase_with_button(world: PersonWorld) -> None:
    chat = Conversation.objects.get(pk=world.ids["chat_id"])
    answer = world.desk.post(f"/chats/{chat.pk}/client/erase/", {"sure": chat.contact_id})
    assert answer.status_code == 302


def erase_with_command(world: PersonWorld) -> None:
    call_command("erase_contact", str(world.ids["client_id"]), "--yes", stdout=io.StringIO())


def erase_with_api(world: PersonWorld) -> None:
    answer = world.api("post", f"contacts/{world.ids['client_id']}/erase/")
    assert answer.status_code == 200, answer.content


WAYS = {"button": erase_with_button, "command": erase_with_command, "API": erase_with_api}


def test_nothing_of_an_erased_person_is_found_anywhere(
    world: PersonWorld, folders: list[Path], log: io.StringIO, tmp_path: Path
) -> None:
    before = search_everywhere(world, folders, io.StringIO())
    assert len({name for names in before.values() for name in names}) > 200 and PHONE in before["bridge_contact"]
    assert len(before["files"]) > 4
    shutil.copytree(folders[0], tmp_path / "copy")

    traces = {}
    for way, erase in WAYS.items():
        with transaction.atomic():
            with TestCase.captureOnCommitCallbacks(execute=True):
                erase(world)
            assert_receipt_names_the_helpdesk(world)
            traces[way] = search_everywhere(world, folders, log)
            with TestCase.captureOnCommitCallbacks(execute=True):
                write_late(world)
            traces[f"{way}, late writes"] = search_everywhere(world, folders, log)
            transaction.set_rollback(True)
        shutil.copytree(tmp_path / "copy", folders[0], dirs_exist_ok=True)

    left = [f"{way}: {place}: {names}" for way, found in traces.items() for place, names in found.items()]
    assert not left, "\n".join(left)


def assert_receipt_names_the_helpdesk(world: PersonWorld) -> None:
    """The numbers with which an admin erases the person in the helpdesk are on a receipt."""
    copies = [copy for receipt in Erasure.objects.all() for copy in receipt.outside if copy["where"] == "helpdesk"]
    numbers = [number for copy in copies for kind in ("chat", "client", "ticket") for number in copy.get(kind, [])]
    assert world.ids["usedesk_chat"] in numbers and len(numbers) >= 3


def write_late(world: PersonWorld) -> None:
    """Everything that programs, operators and providers may still send about the erased person, by our numbers."""
    word, chat = world.word.add, world.ids["chat_id"]
    contact, ticket = world.ids["client_id"], world.ids["ticket_id"]
    for encoding in ("json", "query"):
        world.uapi(
            "update/client",
            encoding,
            client_id=contact,
            name=word("late name"),
            phone=f"+{PHONE}",
            note=word("late note"),
        )
        world.uapi("create/client", encoding, client_id=contact, name=word("late create/client"), phone=PHONE)
        world.uapi("create/comment", encoding, ticket_id=ticket, message=word("late comment"))
        world.uapi("update/ticket", encoding, ticket_id=ticket, subject=word("late subject"), tags=word("late tag"))
        world.uapi(
            "create/ticket", encoding, client_id=contact, channel_id=world.chat_channel.pk, message=word("late ticket")
        )
        world.uapi("chat/sendMessage", encoding, chat_id=chat, text=word("late sendMessage"))
        late = {"channel_id": world.chat_channel.pk, "chat_id": chat, "message[text]": word("late addMessage")}
        world.uapi("chat/addMessage", encoding, **late)
    world.api(
        "post", f"contacts/{contact}/notes/", {"text": word("late API note")}, **{"Idempotency-Key": "late-key-1"}
    )
    world.api("patch", f"contacts/{contact}/", {"name": word("late API name")}, **{"Idempotency-Key": "late-key-2"})
    world.api("post", f"conversations/{chat}/messages/", {"text": word("late API message")})
    script = {"x-requested-with": "okno", "hx-request": "true"}
    for path, values in (
        ("client/notes/", {"note": word("late desk note")}),
        ("client/tags/", {"add": word("late desk tag")}),
        ("client/edit/", {"name": word("late desk name"), "phone": f"+{PHONE}"}),
        ("draft/", {"text": word("late draft"), "written": "1795335000001", "key": "late-draft-1"}),
        ("send/", {"text": word("late desk reply"), "key": "late-desk-0001"}),
    ):
        world.desk.post(f"/chats/{chat}/{path}", values, headers=script)
    event = {"message_id": world.ids["acebot_message"], "status": "failed", "timestamp": 1795335900}
    event |= {"error": {"code": 131026, "title": word("late status")}, "recipient": PHONE}
    world.program.post(world.acebot.webhook_path, json.dumps(event), content_type="application/json")
    world.receive_late_cloud_events()
    simulator, usedesk_chat = world.shop.simulator, world.ids["usedesk_chat"]
    simulator.say(usedesk_chat, word("late usedesk reply"))
    simulator.pump()
    processing.process_inbox()
    world.uapi(  # the same message again
        "chat/addMessage",
        **{
            "channel_id": world.chat_channel.pk,
            "message[id]": f"uapi.{world.word['addMessage json id']}",
            "message[text]": world.word["addMessage json text"],
            "message[from][client_id]": PHONE,
        },
    )
    processing.process_inbox()


def test_the_search_finds_every_spelling() -> None:
    word = "кенар001зю"
    escaped = json.dumps(json.dumps({"a": word}))

    for data in (
        word,
        word.upper(),
        escaped,
        quote(word),
        word.encode().hex(),
        *(base64.b64encode(b"x" * offset + word.encode() + b"yz").decode() for offset in range(3)),
        "".join(f"&#{ord(letter)};" for letter in word),
    ):
        assert find_traces(data.encode(), {"word": word}) == ["word"], data
    for data in ("+44 (7700) 900-101", "%2B44%20%287700%29%20900-101", "44\u00a07700\u00a0900101", "447700900101"):
        assert find_traces(data.encode(), {}, phones=[PHONE]) == [PHONE], data
    assert find_traces(b"44 7700 900102 quokka", {"word": word}, phones=[PHONE]) == []
