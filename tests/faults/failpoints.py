"""Failpoints: points at which a process of the test stack kills itself. The product does not contain them.

A file DATA_DIR/failpoints/<point>.<number> causes one kill: the process that removes it dies there. FAULTS_LEASE
shortens the lease, so that a short run does not wait a minute for the deliveries of a dead worker.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings

POISON = "FAULTS-POISON"


def folder(data_dir: Path) -> Path:
    return data_dir / "failpoints"


def taken(point: str) -> bool:
    """Use up one token. Return whether there was one."""
    for token in folder(Path(settings.DATA_DIR)).glob(f"{point}.*"):
        try:
            token.unlink()
        except FileNotFoundError:
            continue
        return True
    return False


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failpoints(AppConfig):
    name = "tests.faults"
    label = "faults"

    def ready(self) -> None:
        from bridge import wakeups
        from bridge.intake import flood_guard
        from bridge.outbox import claims
        from bridge.outbox.policies import DestinationPolicy

        if lease := os.environ.get("FAULTS_LEASE"):
            claims.LEASE_SECONDS = int(lease)
        claim, attempt, notify = claims.claim_deliveries, DestinationPolicy.attempt, wakeups.notify_workers

        def claim_and_die(*args: Any, **kwargs: Any) -> Any:
            claimed = claim(*args, **kwargs)
            if any(item.delivery.attempts == 1 for item in claimed) and taken("after_claim"):
                die()
            return claimed

        def attempt_and_die(self: Any, claimed: Any, *args: Any, **kwargs: Any) -> Any:
            if POISON in str(claimed.delivery.payload):
                die()
            result = yield from attempt(self, claimed, *args, **kwargs)
            if claimed.delivery.attempts == 1 and result.http_status == 200 and taken("after_200"):
                die()
            return result

        def notify_or_not(channel: str) -> None:
            if taken("die_before_wakeup"):
                die()
            if not taken("wakeup_lost"):
                notify(channel)

        is_refused = flood_guard.UnknownTokenGuard.is_refused

        def spin_or_answer(self: Any, path: str) -> bool:
            if taken("web_spins"):
                re.match(r"(a+)+$", "a" * 60 + "b")  # for years, and no other thread of the process runs meanwhile
            return is_refused(self, path)

        flood_guard.UnknownTokenGuard.is_refused = spin_or_answer  # type: ignore[method-assign]
        claims.claim_deliveries = claim_and_die
        DestinationPolicy.attempt = attempt_and_die  # type: ignore[method-assign]
        wakeups.notify_workers = notify_or_not
