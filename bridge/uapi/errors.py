"""Errors of the public API, and the numbers that callers rely on."""

from __future__ import annotations

from typing import Any

# The numbers in "code". Stable; callers may rely on them.
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
    """A sentence for the caller, with its number; ``extra`` is merged into the answer."""

    def __init__(self, code: int, sentence: str, **extra: Any) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.extra = code, sentence, extra

    def body(self) -> dict[str, Any]:
        return {"error": self.sentence, "code": self.code, **self.extra}
