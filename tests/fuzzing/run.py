"""Draw hostile requests, send them, and collect the responses that break the rule."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from django.test import override_settings
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzzing import pages, scene
from tests.fuzzing.cases import Cases
from tests.fuzzing.cases import known_path as cases_path
from tests.fuzzing.portal import Answer, Portal, Request


@dataclass
class Report:
    """Counts of a run, and the violations of the rule: one request for each place in the code."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)

    def record(self, request: Request, answer: Answer, cookies: str) -> None:
        self.cases += 1
        self.statuses[answer.status] += 1
        self.origins[f"{request.origin} {answer.status}"] += 1
        if problem := describe_violation(request, answer):
            self.faults.setdefault(problem, f"{request}\n{answer.status} {answer.body[:200]!r}\n{answer.trace[-2500:]}")


def describe_violation(request: Request, answer: Answer) -> str:
    """Return a description of the violation, which is equal for equal faults; empty if there is none."""
    if answer.trace and not (answer.status == 400 and "Disallowed" in answer.trace):
        places = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', answer.trace)
        ours = [place for place in places if "site-packages" not in place[0] and "/lib/python" not in place[0]]
        return f"{answer.trace.strip().splitlines()[-1][:120]} at {ours[-1] if ours else places[-1]}"
    if answer.status >= 500 and not (answer.status == 503 and request.path.startswith(("/files/", "/health/"))):
        return f"{answer.status} at {re.sub('[0-9]+', 'N', request.path)[:80]}"
    if request.path.startswith(("/uapi/", "/api/v1/")) and answer.status >= 400 and request.method != "HEAD":
        try:
            if not isinstance(json.loads(answer.body)["error"], str):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            return f"no error shape: {answer.status} at {re.sub('[0-9]+', 'N', request.path)[:60]}"
    return ""


@override_settings(API_CALLS_PER_MINUTE=0)  # responses with 429 would hide errors of the views
def run(count: int, *, number: int, is_repeatable: bool = True) -> Report:
    portal, report = Portal(), Report()
    try:
        cases, cast = _cases(portal, report)

        def one(case: tuple[str, Request]) -> None:
            role, request = case
            cookies = cast.sessions[role]
            report.record(request, portal.call(request, cookies=cookies), cookies)

        examples = settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(number)(examples(given(cases.any())(one)))()
    finally:
        portal.close()
    return report


def _cases(portal: Portal, report: Report) -> tuple[Cases, scene.Scene]:
    cast, routes = scene.make(), pages.routes()

    def get(role: str, path: str, query: str) -> Answer:
        request = Request("GET", path, query, origin="walk")
        answer = portal.call(request, cookies=cast.sessions[role])
        report.record(request, answer, cast.sessions[role])
        return answer

    begin = [cases_path(cast, route) for route in routes]
    own = [path for path in begin if not path.startswith("/admin/")]
    sites = [
        pages.walk(get, "operator", ["/", "/chats/", "/requests/", "/windows/", "/templates/"], own),
        pages.walk(get, "superuser", ["/admin/", "/admin/bridge/deadletter/"], begin),
        pages.walk(get, "", ["/login/"], cast.addresses),
    ]
    return Cases(cast, routes, sites, SchemaGenerator().get_schema(request=None, public=True)), cast
