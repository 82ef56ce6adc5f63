"""Control of a page's requests: hold, release, fail or delay them."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Error, Page, Route


class Held:
    """Requests that match a pattern, held until the test releases or fails them."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.page, self.pattern = page, pattern
        self.routes: list[Route] = []
        page.route(pattern, self._take)

    def _take(self, route: Route) -> None:
        self.routes.append(route)

    def wait(self, count: int = 1) -> None:
        for _ in range(600):
            if len(self.routes) >= count:
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"{len(self.routes)} of {count} requests came")

    def release(self, number: int = 0) -> None:
        """Release one request. The page may have canceled it already."""
        with suppress(Error):
            self.routes.pop(number).continue_()

    def fail(self, number: int = 0) -> None:
        with suppress(Error):
            self.routes.pop(number).abort()

    def lose_answer(self, number: int = 0) -> None:
        """Send the request to the server, but drop its response."""
        route = self.routes.pop(number)
        route.fetch()
        route.abort()

    def end(self) -> None:
        self.page.unroute(self.pattern)
        while self.routes:
            self.release()


def fails(page: Page, pattern: str) -> None:
    page.route(pattern, lambda route: route.abort())


def slow_down(page: Page, *, latency: int) -> None:
    """Delay every response by a number of milliseconds, like a slow connection."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1},
    )
