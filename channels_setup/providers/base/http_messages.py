"""HTTP requests and responses, inbound and outbound, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from channels_setup.codecs.bodies import decode_body

from .accounts import Json

# --- inbound: webhooks ---


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """A webhook request with its exact bytes. Header names are lower case."""

    method: str
    query_string: str
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    def decoded(self) -> Json:
        """Return the body as an object, whatever its encoding. Raises BadBody."""
        return decode_body(body=self.body, content_type=self.content_type, query_string=self.query_string).values


class RequestRejected(Exception):
    """The request does not prove that it comes from the provider. Nothing is stored."""


@dataclass(frozen=True, kw_only=True)
class MisroutedItem:
    """An item of a webhook for other channels than the one whose address it was sent to.

    ``address`` holds the settings by which those channels are found, such as ``{"phone_number_id": "109…"}``.
    ``number`` narrows them to the channel with this phone number (digits), if it is known.
    ``for_all``: the item goes to every channel found, otherwise to one.
    ``is_optional``: the receiving channel has processed the item itself, so nothing is lost if no other is found.
    """

    address: Mapping[str, str]
    content: Json
    number: str = ""
    for_all: bool = False
    is_optional: bool = False


def credential_proof(name: str, value: str) -> str:
    """Return the proof that ``authenticate`` reports: the credential's setting name and value."""
    return f"{name} {value}"


# --- outbound: API calls ---


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """A call to make. The HTTP client checks ``url`` against the address guard on every call."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # may contain the account's key
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    """The response to a call. ``body`` is truncated to the limit of ``http_client``.

    ``is_complete``: nothing of the body is missing, as far as the connection shows.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_complete: bool = True
