"""Why a call was not made, or has no response."""


class ForbiddenAddress(Exception):
    """The call is not allowed. The text is a sentence for the admin."""


class HostNotFound(ForbiddenAddress):
    """The host name does not resolve now. It may resolve later."""


class ConnectionFailed(Exception):
    """No connection was established, so nothing was delivered. ``reason`` is a code of ``bridge.outcomes``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoResponse(Exception):
    """The request was sent and no response arrived. The other side may have accepted it or not."""
