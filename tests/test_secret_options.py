"""Secrets for commands: from the environment, a file or stdin; on the command line only with a warning."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from channels_setup.models import ApiChannel
from tests.cloud_accounts import ACCESS_TOKEN, APP_SECRET, SETTINGS

pytestmark = pytest.mark.django_db

PASSWORD = "korabl-i-more-7"
ROOT = Path(__file__).resolve().parent.parent


def run(*words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_bytes_that_are_no_text_are_refused_with_an_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"korabl\xff\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes()), encoding="utf-8"))

    for source in ("-", str(file)):
        with pytest.raises(CommandError, match="UTF-8") as refused:
            run("user", "add", "by-bytes", "--role", "admin", "--password-file", source)
        assert refused.value.__suppress_context__ and "korabl" not in str(refused.value)


def test_a_password_is_accepted_from_every_safe_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\r\nsecond line\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    outputs = [
        run("user", "add", "by-file", "--role", "admin", "--password-file", str(file)),
        run("user", "add", "by-stdin", "--role", "admin", "--password-file", "-"),
    ]
    monkeypatch.setenv("USER_PASSWORD", PASSWORD)
    outputs.append(run("user", "add", "by-variable", "--role", "admin"))

    assert all(user.check_password(PASSWORD) for user in get_user_model().objects.filter(username__startswith="by-"))
    assert get_user_model().objects.filter(username__startswith="by-").count() == 3
    assert [err for _out, err in outputs] == ["", "", ""]
    assert PASSWORD not in json.dumps(outputs)


def test_a_password_on_the_command_line_causes_a_warning() -> None:
    _out, err = run("user", "add", "vera2", "--role", "admin", "--password", PASSWORD)

    assert "--password-file" in err
    assert "USER_PASSWORD" in err
    assert PASSWORD not in err


def test_a_terminal_prompts_for_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("channels_setup.secret_options.getpass", lambda prompt: PASSWORD)

    run("user", "add", "asked", "--role", "admin", "--password-file", "-")

    assert get_user_model().objects.get(username="asked").check_password(PASSWORD)


@pytest.mark.parametrize("content", ["", "\n", "x" * 5_000, None, b"\xff\xfe"])
def test_an_unreadable_file_is_refused_with_an_explanation(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(CommandError, match="--password-file"):
        run("user", "add", "vera2", "--role", "admin", "--password-file", str(file))


def test_two_sources_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not both"):
        run("user", "add", "vera2", "--role", "admin", "--password", PASSWORD, "--password-file", "-")


def channel_add(*more: str) -> tuple[str, str]:
    common = ("--kind", "whatsapp_cloud", "--name", "WhatsApp", "--chat-channel", "Shop", "--output", "json")
    plain = ("--phone-number-id", SETTINGS["phone_number_id"], "--waba-id", SETTINGS["waba_id"])
    return run("channel", "add", *common, *plain, *more)


def test_a_channels_keys_are_read_from_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(ACCESS_TOKEN)
    monkeypatch.setenv("CHANNEL_APP_SECRET", APP_SECRET)

    out, err = channel_add("--access-token-file", str(file))

    account = ApiChannel.objects.get().account()
    assert (account.credential("access_token"), account.credential("app_secret")) == (ACCESS_TOKEN, APP_SECRET)
    assert ACCESS_TOKEN not in out + err
    assert APP_SECRET not in out + err
    assert "--access-token" not in err


def test_a_channels_keys_on_the_command_line_cause_a_warning() -> None:
    _out, err = channel_add("--access-token", ACCESS_TOKEN, "--app-secret", APP_SECRET)

    assert "--access-token-file" in err
    assert "--app-secret-file" in err
    assert ACCESS_TOKEN not in err


def test_a_key_of_another_provider_is_an_error_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(ACCESS_TOKEN)

    with pytest.raises(CommandError, match="--access-token-file"):
        run(
            "channel",
            "add",
            "--kind",
            "sandbox",
            "--name",
            "X",
            "--chat-channel",
            "Y",
            "--access-token-file",
            str(file),
        )


def test_a_helpdesks_key_is_not_accepted_as_a_plain_setting() -> None:
    with pytest.raises(CommandError, match="--secret-key-file"):
        run("helpdesk", "add", "--kind", "usedesk", "--name", "X", "--company-id", "1", "--set", "secret_key=abc")


# --- compose ---------------------------------------------------------------------------------------------


def test_compose_gives_each_container_only_the_secrets_that_it_needs() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert 'requirepass "$' not in " ".join(service.get("command", [])), name
        assert service["networks"], name
    reachable = {name for name, service in compose["services"].items() if "data" in service["networks"]}
    assert "proxy" not in reachable
    assert compose["networks"]["data"] == {"internal": True}
    for name in ("postgres", "redis", "migrate"):
        assert compose["services"][name]["networks"] == ["data"]
