"""The guarded HTTP client: every call that the portal makes to another system goes through it.

Protections against addresses that a person typed in:
- The client checks the *resolved* address of every connection and connects to exactly the address it has checked.
  A name with one forbidden address among several is refused as a whole.
- A kept connection is used only while the name still resolves to its address.
- It speaks only HTTP/1.1 with or without TLS, never follows redirects, and uses no cookies, proxies or .netrc files.
- A deadline covers the whole exchange, also when a server sends its answer byte by byte. The body has a size limit.

``requests-hardened`` was considered (docs/decisions.md). It has no list of allowed private ranges, no port policy, and
no deadline for slow headers.
"""

from .concurrent_calls import ConcurrentCalls
from .errors import ConnectionFailed, ForbiddenAddress, HostNotFound, NoResponse
from .exchanges import Call, Exchange, RunningExchanges, run_exchange
from .sending import send
from .url_rules import check_url, unresolved_warning

__all__ = [
    "Call",
    "ConcurrentCalls",
    "ConnectionFailed",
    "Exchange",
    "ForbiddenAddress",
    "HostNotFound",
    "NoResponse",
    "RunningExchanges",
    "check_url",
    "run_exchange",
    "send",
    "unresolved_warning",
]
