"""Error class and stable error codes of the public API."""

from __future__ import annotations

from typing import Any

# Values of "code" in error responses. Callers rely on them, so they never change.
BAD_FIELD = 400
BAD_TOKEN = 401
NOT_ALLOWED = 403
NOT_FOUND = 404
KEY_REUSED = 409
ERASED = 410
TOO_LARGE = 413
NOT_SENT = 422
TOO_MANY = 429


class UapiError(Exception):
    """Rejection of a call: a code and a sentence for the caller. ``extra`` is merged into the response."""

    def __init__(self, code: int, sentence: str, **extra: Any) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.extra = code, sentence, extra

    def body(self) -> dict[str, Any]:
        return {"error": self.sentence, "code": self.code, **self.extra}
