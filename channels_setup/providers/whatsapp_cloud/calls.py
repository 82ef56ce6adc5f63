"""Calls to the Graph API, or to an API of the same shape: URLs, headers, bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from channels_setup.providers.base import Account, ApiRequest

from .account_options import (
    BEARER_HEADER,
    DEFAULT_API_VERSION,
    META_MEDIA_HOSTS,
    get_base_url,
    get_number_id,
    get_option,
    has_ids_in_path,
)


def build_path(account: Account, path: str) -> str:
    version = get_option(account, "api_version", DEFAULT_API_VERSION).strip("/")
    return f"{version}/{path}" if has_ids_in_path(account) else path


def build_number_path(account: Account, path: str) -> str:
    return build_path(account, f"{get_number_id(account)}/{path}") if has_ids_in_path(account) else path


def build_account_path(account: Account, path: str) -> str:
    waba = get_option(account, "waba_id")
    return build_path(account, f"{waba}/{path}") if has_ids_in_path(account) else path


def build_headers(account: Account) -> dict[str, str]:
    header, token = get_option(account, "auth_header", BEARER_HEADER).lower(), account.credential("access_token")
    return {header: f"Bearer {token}" if header == BEARER_HEADER else token}


def build_post(account: Account, path: str, body: Mapping[str, Any]) -> ApiRequest:
    return ApiRequest(
        method="POST",
        url=f"{get_base_url(account)}/{path}",
        headers={**build_headers(account), "content-type": "application/json"},
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def build_upload_headers(account: Account) -> dict[str, str]:
    """Build the headers that upload raw bytes. Meta expects the scheme ``OAuth`` instead of ``Bearer`` there."""
    is_meta = get_option(account, "auth_header", BEARER_HEADER).lower() == BEARER_HEADER
    token = {BEARER_HEADER: f"OAuth {account.credential('access_token')}"} if is_meta else {}
    return {**token, "content-type": "application/octet-stream"}


def build_get(account: Account, path: str, parameters: Mapping[str, str]) -> ApiRequest:
    query = urlencode({name: value for name, value in parameters.items() if value})
    url = f"{get_base_url(account)}/{path}" + (f"?{query}" if query else "")
    return ApiRequest(method="GET", url=url, headers=build_headers(account), body=b"")


def replace_media_host(url: str, account: Account) -> str:
    """Return the file's URL at the account's provider.

    A BSP passes on Meta's URL, where its key is not valid, and serves the file under the same path on its own host.
    """
    parts, base = urlsplit(url), urlsplit(get_base_url(account))
    is_at_meta = parts.scheme == "https" and parts.netloc.lower() in META_MEDIA_HOSTS
    if not is_at_meta or get_option(account, "auth_header", BEARER_HEADER).lower() == BEARER_HEADER:
        return url
    return parts._replace(scheme=base.scheme, netloc=base.netloc).geturl()
