"""Names of files in an archive: safe on every system, unique, and never run by a double click."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

MAX_BYTES = 120
FORBIDDEN = frozenset('/\\:*?"<>|')
# Types that a browser or Windows would run. The client chose the name, and an admin opens the archive.
ACTIVE_TYPES = frozenset(
    "htm html shtml xhtml xht svg svgz xml xsl xslt mht mhtml js mjs jse hta pdfxml swf "
    "exe com bat cmd scr pif cpl msi msp vb vbs vbe ws wsf wsh ps1 psm1 lnk url jar app command sh desktop reg "
    "chm hlp iso img dll docm xlsm pptm".split()
)


def build_file_names(files: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return stored path → path in the archive, for pairs of stored path and the sender's file name."""
    names: dict[str, str] = {}
    for path, name in files:
        if path not in names:
            names[path] = f"files/{len(names) + 1:04}-{make_safe_name(name)}"
    return names


def make_safe_name(name: str) -> str:
    """Return the name without path separators, control and formatting characters, of a limited length."""
    kept = "".join(
        "_" if character in FORBIDDEN or unicodedata.category(character)[0] == "C" else character
        for character in unicodedata.normalize("NFC", name)
    )
    kept = " ".join(kept.split()).strip(". ") or "file"
    suffix = PurePosixPath(kept).suffix
    stem = kept.removesuffix(suffix) if len(suffix.encode()) <= 12 else kept
    suffix = kept[len(stem) :]
    stem = stem.encode()[: MAX_BYTES - len(suffix.encode())].decode(errors="ignore")
    return f"{stem}{suffix}.bin" if suffix[1:].casefold() in ACTIVE_TYPES else f"{stem}{suffix}"
