"""Django's request and handler, with reading of cookies and multipart bodies that cannot fail on what was sent."""

from __future__ import annotations

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http.multipartparser import MultiPartParserError
from django.utils.functional import cached_property


class Request(WSGIRequest):
    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]  # Django's is a property that can be set, too
        """Cookies that the database can look up: an octal escape in a quoted value may be a NUL."""
        cookies: dict[str, str] = super().COOKIES
        return {name: value for name, value in cookies.items() if "\0" not in value}

    def parse_file_upload(self, META: Any, post_data: Any) -> Any:
        """Refuse a body whose part headers name an unknown charset or cannot be read, for which Django has a 500."""
        try:
            return super().parse_file_upload(META, post_data)
        except (LookupError, UnicodeError, ValueError) as problem:
            raise MultiPartParserError("The multipart body cannot be read.") from problem


class Handler(WSGIHandler):
    request_class = Request
