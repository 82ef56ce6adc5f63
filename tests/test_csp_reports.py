"""Browsers' CSP violation reports: both formats, rate limited, small, without secrets in the log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import Client

from config.serving import body_buffer
from config.web import csp_reports
from config.web.attempt_limits import AttemptLimit
from tests.factories import vera
from tests.pages import signed_in
from tests.processes import in_production

PAGE = "https://okno.example/handover/a-secret-token/?phone=79210000000#x"
OLD = {"document-uri": PAGE, "effective-directive": "script-src-elem", "blocked-uri": "inline"}
NEW = {"documentURL": PAGE, "effectiveDirective": "script-src-elem", "blockedURL": "inline"}


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csp_reports, "REPORT_CALLS", AttemptLimit(max_attempts=3, seconds=60))


@pytest.fixture
def send(client: Client) -> Any:
    def post(content: Any, kind: str = "application/csp-report", **more: Any) -> Any:
        data = content if isinstance(content, bytes) else json.dumps(content)
        return client.post("/csp-report/", data, content_type=kind, **more)

    return post


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/csp-report", {"csp-report": OLD}),
        ("application/csp-report", {"csp-report": {**OLD, "violated-directive": "script-src-elem 'self'"}}),
        ("application/reports+json", [{"type": "deprecation", "body": {}}, {"type": "csp-violation", "body": NEW}]),
    ],
)
def test_each_format_is_logged_with_its_route_only(
    send: Any, caplog: pytest.LogCaptureFixture, kind: str, content: Any
) -> None:
    with caplog.at_level(logging.WARNING, logger="config.web.csp_reports"):
        assert send(content, kind).status_code == 204

    assert [record.getMessage() for record in caplog.records] == [
        "content security policy violated: script-src-elem on /handover/<str:token>/, blocked inline"
    ]


@pytest.mark.parametrize(
    ("blocked", "logged"),
    [
        ("eval", "eval"),
        ("https://evil.example:8443/a?token=secret", "https://evil.example:8443"),
        ("https://user:secret@evil.example/", "https://evil.example"),
        ("wss://[::1]:9/x", "wss://[::1]:9"),
        ("secret words", "(unknown)"),
        ("https://evil.example\nfaked line", "(unknown)"),
        ("https://[broken", "(unknown)"),
        (7, "(unknown)"),
        (None, "(unknown)"),
    ],
)
def test_the_blocked_source_is_logged_without_path_and_query(blocked: Any, logged: str) -> None:
    assert csp_reports.summarize_report({**NEW, "blockedURL": blocked})[2] == logged


@pytest.mark.parametrize("page", ["https://[x", "", "/no/such/page/", 7, ["/"], "x" * 9000, f"/chats/{'9' * 4400}/"])
def test_an_invalid_page_url_has_no_route(page: Any) -> None:
    assert csp_reports.summarize_report({**NEW, "documentURL": page})[1] in ("(no such route)", "/")


@pytest.mark.parametrize("directive", ["script-src\nfaked", "X" * 300, 7, ""])
def test_an_invalid_directive_is_not_logged(directive: Any) -> None:
    assert csp_reports.summarize_report({**NEW, "effectiveDirective": directive})[0] == "(unknown)"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 9000, b"7", b"null", b'"x"', b'{"csp-report": 7}', b"[7]", b"\xff\xfe", b"1" * 5000],
)
def test_another_content_type_is_a_400(send: Any, content: bytes) -> None:
    answer = send(content)

    assert answer.status_code == 400 and answer.json()["reason"] == "invalid"


@pytest.mark.parametrize("content", [b"[]", b'[{"type": 7}]', b'[{"type": "csp-violation", "body": 7}]'])
def test_a_list_without_csp_reports_is_accepted_and_logs_nothing(
    send: Any, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    assert send(content).status_code == 204
    assert caplog.records == []


def test_many_reports_in_one_call_are_few_lines(send: Any, caplog: pytest.LogCaptureFixture) -> None:
    send([{"type": "csp-violation", "body": NEW}] * 50, "application/reports+json")

    assert len(caplog.records) == csp_reports.MAX_REPORTS_PER_CALL


def test_a_large_report_is_refused(send: Any) -> None:
    assert send(b" " * (csp_reports.MAX_REPORT_BYTES + 1)).status_code == 413


def test_reports_are_limited_per_address(send: Any) -> None:
    statuses = [send({"csp-report": OLD}).status_code for _ in range(5)]
    other = send({"csp-report": OLD}, REMOTE_ADDR="203.0.113.9").status_code

    assert (statuses, other) == ([204, 204, 204, 429, 429], 204)
    assert int(send({"csp-report": OLD})["Retry-After"]) > 0


def test_reports_are_accepted_by_post_without_queries(client: Client) -> None:
    assert client.get("/csp-report/").status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize("with_https", [False, True])
def test_every_page_names_the_report_url(client: Client, settings: Any, with_https: bool) -> None:
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"] | ({"report-to": "csp"} if with_https else {})
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": directives}
    signed_in(client, vera())

    for path in ("/login/", "/chats/", "/admin/"):
        answer = client.get(path, follow=True)
        assert "report-uri /csp-report/" in answer["Content-Security-Policy"], path
        assert answer.get("Reporting-Endpoints") == ('csp="/csp-report/"' if with_https else None), path


def test_production_also_sends_the_reporting_endpoints_header() -> None:
    assert in_production("s.CONTENT_SECURITY_POLICY['DIRECTIVES']['report-to']") == "csp"


def test_a_session_cookie_does_not_allow_a_larger_report() -> None:
    scope = {"PATH_INFO": csp_reports.REPORT_PATH, "HTTP_COOKIE": "sessionid=x", "HTTP_AUTHORIZATION": "Token x"}

    assert not body_buffer.is_known_caller(scope)
