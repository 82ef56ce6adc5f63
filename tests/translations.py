"""`python -m tests.translations`: check that the Russian translations are complete. `make check` runs it.

Every text in the sources has a translation in the .po that is not fuzzy, and the committed .mo was compiled from that
.po: a fresh machine has no gettext to compile it.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polib

LOCALE = Path(__file__).resolve().parent.parent / "config" / "locale"
PO = LOCALE / "ru" / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")
SHOWN = 30


def complaints() -> Iterator[str]:
    if not PO.exists() or not MO.exists():
        yield f"{PO} or its .mo is missing: `make messages`."
        return
    catalogue = polib.pofile(str(PO))
    entries = [entry for entry in catalogue if not entry.obsolete]
    for entry in entries:
        if entry.fuzzy or not entry.translated():
            yield f"{PO.name}:{entry.linenum}: {'fuzzy' if entry.fuzzy else 'untranslated'}: {entry.msgid!r}"
        # A singular form may omit the number, so plural forms are not compared.
        elif entry.msgstr and not names_its_own(entry) and differ(entry):
            yield f"{PO.name}:{entry.linenum}: other placeholders than in {entry.msgid!r}"
    if texts(polib.mofile(str(MO))) != texts(entry for entry in entries if not entry.fuzzy):
        yield f"{MO.name} is not made of {PO.name}: `make messages`."
    yield from differences_from_sources(entries)


def differences_from_sources(entries: list[Any]) -> Iterator[str]:
    if shutil.which("xgettext") is None:
        print("gettext is not installed, so the sources are not compared: `apt-get install gettext`.")
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            yield "gettext is missing."
        return
    fresh = {key(entry) for entry in gathered()}
    known = {key(entry) for entry in entries}
    for _, text, _ in sorted(fresh - known):
        yield f"not in {PO.name}: {text!r}: `make messages`."
    for _, text, _ in sorted(known - fresh):
        yield f"in {PO.name} but in no source: {text!r}: `make messages`."


def gathered() -> list[Any]:
    """Return the messages that makemessages finds now, from a temporary catalog."""
    import django
    from django.core.management import call_command
    from django.test import override_settings

    from config.management.commands.messages import OPTIONS

    django.setup()
    # makemessages would find the real folder and write to it.
    options = OPTIONS | {"ignore_patterns": [*OPTIONS["ignore_patterns"], "config/locale"]}
    with tempfile.TemporaryDirectory() as folder, override_settings(LOCALE_PATHS=[folder]):
        call_command("makemessages", **options)
        return list(polib.pofile(f"{folder}/ru/LC_MESSAGES/django.po"))


def key(entry: Any) -> tuple[str, str, str]:
    return entry.msgctxt or "", entry.msgid, entry.msgid_plural or ""


def names_its_own(entry: Any) -> bool:
    """Whether people write the placeholders in braces themselves, in their language. The source marks such a text."""
    return "no-python-brace-format" in entry.flags


def differ(entry: Any) -> bool:
    return set(placeholders(entry.msgid)) != set(placeholders(entry.msgstr))


def placeholders(text: str) -> list[str]:
    """Return the placeholders of a text: %(name)s, %s and {name}."""
    return re.findall(r"%\(\w+\)[sd]|%[sd]|\{\w*\}", text)


def texts(entries: Any) -> dict[tuple[str, str, str], Any]:
    return {key(entry): entry.msgstr or dict(entry.msgstr_plural) for entry in entries}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config.devstack.environment_setup import prepare_environment

    prepare_environment(["manage.py", "check"])
    found = list(complaints())
    print("\n".join(found[:SHOWN]) or "translations: complete")
    if len(found) > SHOWN:
        print(f"… and {len(found) - SHOWN} more")
    sys.exit(1 if found else 0)
