"""The webhook bodies in tests/payloads/whatsapp_cloud, their expected facts, and ways to send them.

`for recording in corpus(): post(recording.body, headers=signed(recording.body, app_secret))`. The README of the folder
explains the terms of an expectation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulators.wire import as_sent, signature

FOLDER = Path(__file__).parent / "payloads" / "whatsapp_cloud"
WABA_ID = "104000000000801"
PHONE_NUMBER_ID = "109000000000802"
BROKEN = {"field": "messages", "value": {"messages": [None, {"id": 5}], "metadata": "?"}}


@dataclass(frozen=True, kw_only=True)
class Recording:
    name: str
    body: bytes
    says: str
    facts: tuple[dict[str, Any], ...]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def silent(self) -> bool:
        """Whether the body contains no fact that a program must record."""
        return all(fact.get("optional") for fact in self.facts)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the expected facts of these kinds."""
        return [fact for fact in self.facts if fact["kind"] in kinds and not fact.get("optional")]


@cache
def corpus() -> tuple[Recording, ...]:
    return tuple(recording(path) for path in sorted(FOLDER.glob("*.json")))


def recording(path: Path) -> Recording:
    expected = json.loads((FOLDER / "expected" / path.name).read_text())
    return Recording(name=path.stem, body=path.read_bytes(), says=expected["says"], facts=tuple(expected["facts"]))


def signed(body: bytes, secret: str) -> dict[str, str]:
    return {"X-Hub-Signature-256": signature(body, secret), "Content-Type": "application/json"}


def tampered(body: bytes) -> bytes:
    """Change one byte so that the body still parses: the first digit of an ID, or a space at the end."""
    for place, byte in enumerate(body):
        if byte in b"12345678" and body[place - 1 : place] == b'"':
            return body[:place] + bytes([byte + 1]) + body[place + 1 :]
    return body + b" "


def reserialised(body: bytes) -> bytes:
    """Return the same JSON in other bytes."""
    fresh = as_sent(json.loads(body))
    return fresh if fresh != body else json.dumps(json.loads(body), indent=1).encode()


def beside_a_broken_one(body: bytes) -> bytes:
    """Put the changes into one batch, between changes that no program can read."""
    batch = json.loads(body)
    rubbish = {"id": WABA_ID, "changes": [BROKEN]}
    batch["entry"] = [rubbish, *batch.get("entry", []), rubbish]
    return json.dumps(batch).encode()
