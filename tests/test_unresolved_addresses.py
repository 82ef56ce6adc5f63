"""URLs whose host name cannot be resolved now: saved with a warning, refused at the call. Private ones stay refused."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from channels_setup import http_client
from channels_setup.http_client import addresses
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.providers.base import ApiRequest
from tests.factories import ApiChannelFactory, vera
from tests.pages import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

HOOK = "https://hooks.acebot.example/x"
WARNING = "The name “hooks.acebot.example” cannot be found. The address is saved"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Define the names that the resolver knows; any other name is not found."""
    known: dict[str, list[str]] = {"127.0.0.1": ["127.0.0.1"], "10.0.0.1": ["10.0.0.1"]}

    def resolve(host: str, port: int) -> list[str]:
        if host not in known:
            raise OSError("not found")
        return known[host]

    monkeypatch.setattr(addresses, "resolve", resolve)
    return known


def form_fields(channel: ApiChannel, **changed: Any) -> dict[str, Any]:
    return {
        "name": channel.name,
        "redirect_url": channel.redirect_url,
        "send_json": "on",
        "send_utf8": "on",
        "on_unknown": channel.on_unknown,
        "watched": [row.pk for row in channel.watched.all()],
    } | changed


def save_form(channel: ApiChannel, **changed: Any) -> str:
    """Save the form as an admin. Return the resulting page."""
    address = f"/admin/channels_setup/apichannel/{channel.pk}/change/"
    return signed_in(Client(), vera()).post(address, form_fields(channel, **changed), follow=True).content.decode()


def test_a_channel_with_an_unresolvable_url_can_be_edited(names: dict[str, list[str]]) -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url=HOOK, state=ChannelState.LIVE, secret=True)

    page = save_form(channel, name="Другое имя")

    channel.refresh_from_db()
    assert (channel.name, channel.redirect_url) == ("Другое имя", HOOK)
    assert WARNING in page


def test_a_new_unresolvable_url_is_saved_with_a_warning(names: dict[str, list[str]]) -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", secret=True)

    assert WARNING in save_form(channel, redirect_url=HOOK)
    assert ApiChannel.objects.get().redirect_url == HOOK
    names["hooks.acebot.example"] = ["93.184.215.14"]
    assert WARNING not in save_form(channel, redirect_url=HOOK)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://inside.example/x", "The address is private"),
        ("https://10.0.0.1/x", "The address is private"),
        ("https://a..b/x", "This is not a web address."),
        (f"https://{'a' * 64}.example/x", "This is not a web address."),
        ("ftp://hooks.acebot.example/x", "The address must begin with https://."),
    ],
)
def test_a_forbidden_url_is_refused(names: dict[str, list[str]], url: str, sentence: str) -> None:
    names |= {"inside.example": ["10.0.0.5"]}
    channel = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:9/", secret=True)

    assert sentence in save_form(channel, redirect_url=url)
    assert ApiChannel.objects.get().redirect_url == "http://127.0.0.1:9/"


@override_settings(RELAY_ALLOWED_PRIVATE_CIDRS=[])
@pytest.mark.parametrize("url", ["http://hooks.acebot.example/x", "https://hooks.acebot.example:9443/x"])
def test_scheme_and_port_are_checked_even_if_the_name_is_not_found(names: dict[str, list[str]], url: str) -> None:
    with pytest.raises(http_client.ForbiddenAddress) as problem:
        http_client.unresolved_warning(url)
    assert not isinstance(problem.value, http_client.HostNotFound)


def test_the_call_itself_fails(names: dict[str, list[str]]) -> None:
    with pytest.raises(http_client.ConnectionFailed):
        http_client.send(ApiRequest(method="POST", url=HOOK, headers={}, body=b"{}"))


def test_the_readmes_command_works_and_warns(names: dict[str, list[str]]) -> None:
    out, err = StringIO(), StringIO()
    arguments = ["--kind", "acebot", "--name", "WhatsApp", "--chat-channel", "Shop", "--redirect-url", HOOK]
    call_command("channel", "add", *arguments, "--output", "json", stdout=out, stderr=err)

    assert json.loads(out.getvalue())["secret_key"]
    assert "cannot be found" in err.getvalue()
    with pytest.raises(CommandError):
        call_command("channel", "add", *arguments[:-1], "https://10.0.0.1/", stdout=out, stderr=err)


def test_a_helpdesk_with_an_unresolvable_url_can_be_edited(names: dict[str, list[str]]) -> None:
    out, err = StringIO(), StringIO()
    arguments = ["--kind", "usedesk", "--name", "Юздеск", "--company-id", "1", "--secret-key", "k" * 40]
    for pair in ("channel_id=870", "app_id=1", "base_url=https://helpdesk.example/uapi/"):
        arguments += ["--set", pair]
    call_command("helpdesk", "add", *arguments, "--output", "json", stdout=out, stderr=err)
    assert "The name “helpdesk.example” cannot be found." in err.getvalue()

    desk = ChatChannel.objects.get(kind="usedesk")
    filled = {"name": "Новое имя", "company_id": 1, "account_base_url": "https://helpdesk.example/uapi/"}
    filled |= {"account_channel_id": 870, "account_app_id": "1", "account_calls_per_second": "5"}
    filled |= {"account_language": "ru", "account_files": "link"}
    address = f"/admin/channels_setup/chatchannel/{desk.pk}/change/"
    page = signed_in(Client(), vera()).post(address, filled, follow=True).content.decode()

    desk.refresh_from_db()
    assert desk.name == "Новое имя", page
    assert "The name “helpdesk.example” cannot be found." in page
