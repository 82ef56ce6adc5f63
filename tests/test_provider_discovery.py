"""A new provider is one file: a toy provider is added, and everything else discovers it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from bridge.inbox import processing
from bridge.models import Conversation, Message
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup import providers
from channels_setup.models import ApiChannel
from tests.factories import boris, vera
from tests.receiver import Receiver

TOY = '''
"""Carrier pigeons: ``{"pigeon": "Anna", "note": "…", "ring": "7"}`` comes in, the same goes out."""

import hmac
import json

from ..codecs.bodies import BadBody
from ..codecs.values import as_text, require_text
from .base import SECRET, URL, AccountSetting, ApiRequest, ContactInfo, MessageReceived, Messenger
from .base import Outcome, RequestRejected


class Pigeons(Messenger):
    label = "Carrier pigeons"
    service_window = False
    sends_templates = False
    signs_requests = True
    settings = (
        AccountSetting(name="loft_url", label="Address of the loft", kind=URL, required=True),
        AccountSetting(name="whistle", label="Whistle", kind=SECRET, required=True),
    )

    def authenticate(self, request, account):
        given = request.headers.get("x-whistle", "")
        if request.method != "POST" or not hmac.compare_digest(given.encode(), account.credential("whistle").encode()):
            raise RequestRejected

    def parse(self, request, account):
        body = request.decoded()
        name = require_text(body.get("pigeon"), "pigeon")
        contact = ContactInfo(external_id=name, name=name)
        return [MessageReceived(contact=contact, text=as_text(body.get("note")), external_id=as_text(body.get("ring")))]

    def build_message_request(self, outgoing, account):
        body = {"to": outgoing.contact.external_id, "note": outgoing.text, "ring": outgoing.key}
        headers = {"x-whistle": account.credential("whistle"), "content-type": "application/json"}
        url = account.options["loft_url"]
        return ApiRequest(method="POST", url=url, headers=headers, body=json.dumps(body).encode())


provider = Pigeons()
'''


@pytest.fixture
def toy_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create a git copy of the project with one more file, and add that file's folder to the search path."""
    house = tmp_path / "house"
    for app in ("channels_setup", "templates_registry", "bridge", "config"):
        shutil.copytree(settings.BASE_DIR / app, house / app, ignore=shutil.ignore_patterns("__pycache__"))
    git(house, "init", "-q")
    git(house, "add", "-A")
    git(house, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "before")
    (house / "channels_setup" / "providers" / "pigeons.py").write_text(TOY)
    folder = tmp_path / "extra"
    folder.mkdir()
    shutil.copy(house / "channels_setup" / "providers" / "pigeons.py", folder)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(folder)])
    providers.all_providers.cache_clear()
    yield house
    monkeypatch.undo()
    providers.all_providers.cache_clear()
    sys.modules.pop("channels_setup.providers.pigeons", None)


def git(where: Path, *arguments: str) -> str:
    command = ["git", "-C", str(where), "-c", "core.hooksPath=/dev/null", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
@pytest.mark.django_db
def test_one_new_file_is_a_provider(
    toy_project: Path, receiver: Receiver, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    git(toy_project, "add", "-A")
    stat = git(toy_project, "diff", "--cached", "--stat", "HEAD")
    assert "1 file changed" in stat and "channels_setup/providers/pigeons.py" in stat

    call_command(
        *("channel", "add", "--kind", "pigeons", "--name", "Голуби", "--chat-channel", "Магазин", "--output", "json"),
        *("--loft-url", receiver.url("/loft"), "--whistle", "fiu-fiu-fiu-fiu"),
    )
    made = json.loads(capsys.readouterr().out)
    channel = ApiChannel.objects.get(pk=made["api_channel"])
    note = {"pigeon": "Анна", "note": "Сапоги есть?", "ring": "7"}
    for whistle, status in (("", 403), ("psst", 403), ("fiu-fiu-fiu-fiu", 200), ("fiu-fiu-fiu-fiu", 200)):
        answer = client.post(
            channel.webhook_path, note, content_type="application/json", headers={"x-whistle": whistle}
        )
        assert answer.status_code == status
    processing.process_inbox()
    reply_submission.submit_reply(conversation_id=Conversation.objects.get().pk, text="Да 🙌", author=vera())
    dispatcher.send_due_deliveries()

    [sent] = receiver.requests
    assert (sent.path, sent.json["to"], sent.json["note"]) == ("/loft", "Анна", "Да 🙌")
    assert sent.headers["x-whistle"] == "fiu-fiu-fiu-fiu"
    assert Message.objects.filter(direction="inbound").count() == 1
    assert Message.objects.get(direction="outbound").status == "sent"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
@pytest.mark.django_db
def test_its_pages_exist_too(toy_project: Path, client: Client) -> None:
    channel = ApiChannel.objects.create(name="Голуби", kind="pigeons")
    client.force_login(vera())
    page = client.get(f"/admin/channels_setup/apichannel/{channel.pk}/change/").content.decode()
    assert "Address of the loft" in page and "Whistle" in page
    assert "Carrier pigeons" in client.get("/admin/channels_setup/apichannel/add/").content.decode()
    client.force_login(boris())
    assert client.get("/chats/").status_code == 200
