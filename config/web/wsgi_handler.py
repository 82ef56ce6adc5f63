"""WSGI handler whose requests do not raise on malformed cookies, headers and forms."""

from __future__ import annotations

import codecs
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http.multipartparser import MultiPartParserError
from django.http.request import MediaType
from django.utils.functional import cached_property


class TolerantRequest(WSGIRequest):
    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # Django's property has a setter
        """Cookies without NUL characters, which an octal escape can produce and PostgreSQL rejects."""
        cookies: dict[str, str] = super().COOKIES
        return {name: value for name, value in cookies.items() if "\0" not in value}

    def _set_content_type_params(self, meta: Any) -> None:
        """Treat every alias of UTF-8 and ASCII as UTF-8. Django rejects a form with any other name than "utf-8"."""
        super()._set_content_type_params(meta)  # type: ignore[misc]  # not in the stubs
        if self.encoding and codecs.lookup(self.encoding).name in ("utf-8", "ascii"):
            self.encoding = "utf-8"

    def _load_post_and_files(self) -> None:
        """Read the form. After an error the form stays empty; Django ensures this for multipart only."""
        try:
            super()._load_post_and_files()
        except (BadRequest, SuspiciousOperation):
            self._mark_post_parse_error()  # type: ignore[attr-defined]  # not in the stubs
            raise

    @cached_property
    def accepted_types(self) -> list[MediaType]:
        """Media types of the Accept header; an empty list if the header is invalid."""
        try:
            return super().accepted_types
        except (ValueError, LookupError):
            return []

    def parse_file_upload(self, META: Any, post_data: Any) -> Any:
        """Reject a body with an invalid or unknown charset in a part, which Django would answer with 500."""
        try:
            return super().parse_file_upload(META, post_data)
        except (LookupError, UnicodeError, ValueError) as problem:
            raise MultiPartParserError("The multipart body cannot be read.") from problem


class TolerantHandler(WSGIHandler):
    request_class = TolerantRequest
