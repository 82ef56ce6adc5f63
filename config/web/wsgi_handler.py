"""Django's request and handler, with reading of cookies and multipart bodies that cannot fail on what was sent."""

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
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # Django's is a property that can be set, too
        """Cookies that the database can look up: an octal escape in a quoted value may be a NUL."""
        cookies: dict[str, str] = super().COOKIES
        return {name: value for name, value in cookies.items() if "\0" not in value}

    def _set_content_type_params(self, meta: Any) -> None:
        """Take every spelling of UTF-8 and ASCII for UTF-8: Django refuses a form with any other name than "utf-8"."""
        super()._set_content_type_params(meta)  # type: ignore[misc]  # not in the stubs
        if self.encoding and codecs.lookup(self.encoding).name in ("utf-8", "ascii"):
            self.encoding = "utf-8"

    def _load_post_and_files(self) -> None:
        """Read the form. After a refusal it is empty for whoever asks again, which Django does for multipart alone."""
        try:
            super()._load_post_and_files()
        except (BadRequest, SuspiciousOperation):
            self._mark_post_parse_error()  # type: ignore[attr-defined]  # not in the stubs
            raise

    @cached_property
    def accepted_types(self) -> list[MediaType]:
        """The media types of the Accept header; none where it cannot be read."""
        try:
            return super().accepted_types
        except (ValueError, LookupError):
            return []

    def parse_file_upload(self, META: Any, post_data: Any) -> Any:
        """Refuse a body whose part headers name an unknown charset or cannot be read, for which Django has a 500."""
        try:
            return super().parse_file_upload(META, post_data)
        except (LookupError, UnicodeError, ValueError) as problem:
            raise MultiPartParserError("The multipart body cannot be read.") from problem


class TolerantHandler(WSGIHandler):
    request_class = TolerantRequest
