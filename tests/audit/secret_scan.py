"""Secrets in the working tree and in the git history.

We use our own patterns: detect-secrets reads no history, and its entropy rules report hundreds of recorded payloads
here. The patterns match keys with a recognizable format, and long random values under a name that suggests a secret.
"""

from __future__ import annotations

import hashlib
import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .exceptions import Finding

CHECK = "secrets"
FORMS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "AWS access key": r"\bAKIA[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,})\b",
    "Slack token": r"\bxox[abposr]-[A-Za-z0-9-]{20,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Meta access token": r"\bEAA[A-Za-z0-9]{60,}\b",
    "Stripe key": r"\b[rs]k_live_[0-9a-zA-Z]{20,}\b",
    "JSON Web Token": r"\beyJ[\w-]{15,}\.eyJ[\w-]{15,}\.[\w-]{15,}",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
}
KNOWN_FORM = re.compile("|".join(f"({form})" for form in FORMS.values()))
NAMED = re.compile(
    r"""(?i)(?:secret|token|passw(?:or)?d|api_?key|private_?key|credential)\w*["']?\s*(?::|=>?)\s*["']?"""
    r"""([A-Za-z0-9+/_=-]{20,})(?![\w.(\[])"""
)
ENTROPY = 3.7  # bits per character: a random value of twenty characters has more, a name or a sentence less
SKIPPED = re.compile(r"\.(?:po|mo|png|ico|svg|woff2?|pdf|min\.js)$|(?:^|/)requirements[^/]*\.txt$")
MOST_LINE = 2_000  # characters read per line


def entropy(text: str) -> float:
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())


def secrets_in(line: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of each secret in a line, and the secret."""
    line = line[:MOST_LINE]
    for found in KNOWN_FORM.finditer(line):
        yield list(FORMS)[(found.lastindex or 1) - 1], found[0]
    for found in NAMED.finditer(line):
        value = found[1]
        if entropy(value) >= ENTROPY and re.search(r"\d", value) and re.search(r"[A-Za-z]", value):
            yield "value under a secret's name", value


def digest(secret: str) -> str:
    """Return the name of a secret in an exception, which does not repeat the secret."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def findings_in(lines: Iterable[tuple[str, str]]) -> list[Finding]:
    """Return one finding per secret, at its first occurrence."""
    found: dict[str, Finding] = {}
    for where, line in lines:
        for kind, secret in secrets_in(line):
            about = digest(secret)
            message = f"{kind} {secret[:4]}… ({about})"
            found.setdefault(about, Finding(check=CHECK, about=about, where=where, message=message))
    return list(found.values())


def tree(root: Path) -> Iterator[tuple[str, str]]:
    """Yield every line of the files that git tracks or would add."""
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, listed):
        path = root / name
        if path.is_file() and not SKIPPED.search(name):
            text = path.read_bytes().decode(errors="replace")
            yield from ((f"{name}:{number}", line) for number, line in enumerate(text.split("\n"), 1))


def history(root: Path) -> Iterator[tuple[str, str]]:
    """Yield every line that any commit of any branch added, and every commit message."""
    commit = name = ""
    for line in _git(root, "log", "--all", "-p", "-U0", "--no-color", "--no-ext-diff", "--format=commit %H%n%B").split(
        "\n"
    ):
        if line.startswith("commit "):
            commit, name = line[7:19], "message"
        elif line.startswith("+++ "):
            name = line[6:]
        elif (line.startswith("+") or name == "message") and not SKIPPED.search(name):
            yield f"{commit} {name}", line


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return done.stdout.decode(errors="replace")
