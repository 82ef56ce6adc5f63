"""Exceptions of functions that libcurl calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def keep_problem(failure: int | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep an exception of a method in ``self.problem``, and return ``failure``, which ends the call.

    pycurl prints such exceptions and goes on, also those that a signal raises: Celery's time limit would be lost.
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(self: Any, *arguments: Any) -> Any:
            try:
                return method(self, *arguments)
            except BaseException as problem:
                self.problem = problem
                return failure

        return run

    return decorate
