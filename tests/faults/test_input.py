"""I1: hostile requests to every route, in-process. The short form always draws the same ones, the full form others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import FULL, SEED
from tests.fuzzing.run import run

ENOUGH = 0.3  # minimum share of successful requests, so that the fuzzer does not only get refusals


@pytest.mark.django_db
@pytest.mark.fault("I1", "50,000 hostile requests to every route: no 5xx, no unhandled exception")
def test_no_input_ends_in_a_5xx(size: Callable[..., int], measured: Callable[[str], None]) -> None:
    number = SEED if FULL else 20261129

    found = run(size(2_000, 50_000), number=number)

    done = sum(count for status, count in found.statuses.items() if status < 400)
    measured(f"{found.cases:,} requests with SEED={number}, {done:,} of them done or shown; {len(found.faults)} faults")
    assert not found.faults, "\n\n".join(found.faults.values())
    assert done > ENOUGH * found.cases
