"""Error class and stable error codes of the public API."""

from __future__ import annotations

from typing import Any

# Values of "code" in error responses. Callers rely on them, so they never change.
BAD_FIELD, BAD_TOKEN, NOT_ALLOWED, NOT_FOUND, KEY_REUSED, ERASED, TOO_LARGE, NOT_SENT, TOO_MANY = (
    400,
    401,
    403,
    404,
    409,
    410,
    413,
    422,
    429,
)


class UapiError(Exception):
    """Rejection of a call: a code and a sentence for the caller. ``extra`` is merged into the response."""

    def __init__(self, code: int, sentence: str, **extra: Any) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.extra = code, sentence, extra

    def body(self) -> dict[str, Any]:
        return {"error": self.sentence, "code": self.code, **self.extra}
