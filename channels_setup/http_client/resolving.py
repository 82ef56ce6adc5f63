"""Host names resolved and checked: which addresses a call may connect to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from urllib.parse import SplitResult

from . import addresses
from .errors import ConnectionFailed
from .url_rules import check_addresses

MAX_ADDRESSES = 4  # tried for one connection
THREADS = 16  # the system's resolver blocks; one slow name must not delay the others


def resolve_checked(parts: SplitResult, port: int) -> list[str]:
    """Return the addresses of a URL's host that a call may connect to.

    Raises ForbiddenAddress if one of them may not be called, and ConnectionFailed if the name is not found.
    """
    try:
        resolved = addresses.resolve(str(parts.hostname), port)
    except OSError as error:
        raise ConnectionFailed("name_not_found") from error
    check_addresses(resolved, scheme=parts.scheme, port=port)
    return resolved[:MAX_ADDRESSES]


@cache
def resolver_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="resolver")
