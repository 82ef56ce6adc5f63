"""Generated keys and passwords of a data folder, stored in DATA_DIR/secrets.json.

Only the owner can read the file. Environment variables take precedence.
"""

import base64
import os
import secrets
from pathlib import Path

from .processes import file_lock, read_json, write_json


def local_secrets(data_dir: Path) -> dict[str, str]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / "secrets.json"
    with file_lock(data_dir / ".secrets.lock"):
        known: dict[str, str] = read_json(path)
        complete = fresh_secrets() | known
        if complete != known:
            write_json(path, complete)
    return complete


def fresh_secrets() -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "VALKEY_PASSWORD": secrets.token_urlsafe(24),
        "DEMO_ADMIN_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_OPERATOR_PASSWORD": secrets.token_urlsafe(9),
    }
