"""The command line as a whole: help for every command and option, and one language."""

import argparse
from collections.abc import Iterator

import pytest
from django.core.management import get_commands, load_command_class
from django.utils import translation

from config.management import EnglishCommands
from tests.factories import vera

APPS = ("bridge", "channels_setup", "config", "templates_registry")
OURS = sorted((name, app) for name, app in get_commands().items() if str(app).split(".")[0] in APPS)
OF_DJANGO = {option.dest for option in load_command_class("django.core", "check").create_parser("", "")._actions}


def list_parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, argparse.Action]]:
    """Yield each option of a command and of its actions."""
    for option in parser._actions:
        yield parser, option
        if isinstance(option, argparse._SubParsersAction):
            for name, below in option.choices.items():
                assert any(one.dest == name and one.help for one in option._choices_actions), f"{below.prog}: no help"
                yield from list_parsers(below)


@pytest.mark.parametrize(("name", "app"), OURS)
def test_every_command_and_option_has_a_help_text(name: str, app: str) -> None:
    command = load_command_class(app, name)
    parser = command.create_parser("manage.py", name)

    assert command.help
    for below, option in list_parsers(parser):
        if option.dest not in OF_DJANGO and not isinstance(option, argparse._SubParsersAction):
            assert option.help, f"{below.prog}: {option.dest}"


@pytest.mark.django_db
def test_commands_speak_english_in_a_russian_portal(capsys: pytest.CaptureFixture[str]) -> None:
    vera()
    with translation.override("ru"), pytest.raises(SystemExit):
        EnglishCommands(["manage.py", "user", "add", "vera", "--role", "admin"]).execute()

    assert "already exists" in capsys.readouterr().err
