"""Check of all settings when a program starts: wrong values end it, and probably misspelled names are warned about."""

import os
import re
import sys
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

from config.environment import SETTINGS, SETTINGS_BY_NAME, read_setting
from config.setting_kinds import REQUIRED

EXIT_CODE = 2
PREFIX = "OKNO_"
YEAR = 31_536_000  # seconds
IS_WARNED = "SETTINGS_WARNED"  # in the environment of programs that `manage.py up` starts, so that it alone warns
OWN_VARIABLES = {"OKNO_TEST_SERVERS", "OKNO_IMAGE"}  # of tests, of docker-compose.yml
# Kubernetes sets these for a service whose name begins with okno.
KUBERNETES_VARIABLE = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
LONG_NAME = 8  # letters from which two wrong ones are likely to be misspelled, and not another program's name


def exit_if_invalid(*, is_complete: bool = True) -> None:
    """End the program with one sentence for each wrong setting. Warn about names that are probably misspelled.

    A complete environment has the required settings; `manage.py` generates them.
    """
    problems = find_problems(is_complete=is_complete)
    if not os.environ.get(IS_WARNED):
        os.environ[IS_WARNED] = "1"
        for sentence in find_unknown_names(os.environ):
            print(f"Warning: {sentence}", file=sys.stderr)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit(EXIT_CODE)


def find_problems(*, is_complete: bool = True) -> list[str]:
    """Return a sentence for each setting whose value is missing, wrong or not readable."""
    problems = []
    for setting in SETTINGS:
        is_set = os.environ.get(setting.name) or os.environ.get(f"{setting.name}_FILE")
        if not is_complete and setting.default is REQUIRED and not is_set:
            continue
        try:
            read_setting(setting.name)
        except ImproperlyConfigured as problem:
            problems.append(str(problem))
    return problems or find_contradictions()


def find_contradictions() -> list[str]:
    """Return a sentence for each set of settings that do not fit together. Each of them alone is right."""
    problems = []
    if read_setting("HSTS_PRELOAD") and not (read_setting("HSTS_SUBDOMAINS") and read_setting("HSTS_SECONDS") >= YEAR):
        problems.append(
            "Invalid HSTS_PRELOAD: browsers accept it only with HSTS_SUBDOMAINS=yes and HSTS_SECONDS of a year or more."
        )
    key, secret = read_setting("MEDIA_S3_ACCESS_KEY_ID"), read_setting("MEDIA_S3_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        problems.append("Set MEDIA_S3_ACCESS_KEY_ID and MEDIA_S3_SECRET_ACCESS_KEY both, or neither.")
    if (key or secret or read_setting("MEDIA_S3_ENDPOINT_URL")) and not read_setting("MEDIA_S3_BUCKET"):
        problems.append("Set MEDIA_S3_BUCKET too: without it, files are stored in DATA_DIR/media.")
    return problems


def find_unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that is no setting, but begins with OKNO_ or resembles a setting's name."""
    sentences = []
    for name in sorted(set(environment) - OWN_VARIABLES):
        if name.removesuffix("_FILE") in SETTINGS_BY_NAME:
            continue
        bare = name.removeprefix(PREFIX)
        is_ours = bare in SETTINGS_BY_NAME and "://" not in environment[name]  # Kubernetes' OKNO_PORT is a URL
        if bare != name and KUBERNETES_VARIABLE.fullmatch(bare) and not is_ours:
            continue
        if meant := find_similar_setting(bare):
            sentences.append(f"{name} is not a setting of the portal. Is {meant} meant?")
        elif bare != name:
            sentences.append(f"{name} is not a setting of the portal. docs/settings.md lists all.")
    return sentences


def find_similar_setting(name: str) -> str | None:
    """Return the setting that a misspelled name means: up to two typing errors, in a short name one."""
    bare = name.removesuffix("_FILE")
    found = []
    for known in SETTINGS_BY_NAME:
        limit = 1 if len(known) < LONG_NAME else 2
        if (errors := distance(bare, known, limit=limit)) <= limit:
            found.append((errors, known))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def distance(left: str, right: str, *, limit: int) -> int:
    """Return the number of added, missing, wrong or swapped letters; any number above the limit counts as limit + 1."""
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, start=1):
        before, above, row = row, before, [i]
        for j, other in enumerate(right, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > limit + 1:
            return limit + 1
    return row[-1]
