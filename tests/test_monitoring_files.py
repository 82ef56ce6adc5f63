"""The dashboard and the alert rules of docs/monitoring: they parse, use existing metrics and labels, and fire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser
import pytest
import yaml
from django.conf import settings
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from bridge.metrics import counters
from tests.factories import ApiChannelFactory
from tests.promql import Series, evaluate

FOLDER = settings.BASE_DIR / "docs" / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
OF_PROMETHEUS = {"up": {"job", "instance"}}  # and not of the portal


def by_name(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


@cache
def real_labels() -> dict[str, set[str]]:
    """Return the labels of each metric in a real scrape, with those of counters that have no series yet."""
    ApiChannelFactory()
    labels = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(Client().get("/metrics").content.decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for metric in counters.CATALOG.values():
        for name in (metric.name, f"{metric.name}_bucket", f"{metric.name}_count", f"{metric.name}_sum"):
            if name in labels:
                labels[name].update(metric.labels)
    return labels


def selectors(node: Any) -> Iterator[Any]:
    """Yield every vector selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str):
            yield from selectors(child)
    for child in getattr(node, "args", ()) or ():
        yield from selectors(child)


def grouping(node: Any) -> Iterator[str]:
    """Yield every label in `by`, `on` and `group_left`."""
    text = promql_parser.parse(node).prettify() if isinstance(node, str) else str(node)
    for words in re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", text):
        yield from (word.strip() for word in words.split(",") if word.strip())


def check_expression(expression: str) -> None:
    known = real_labels()
    used: set[str] = set()
    names = []
    for selector in selectors(promql_parser.parse(expression)):
        assert selector.name in known, f"no such metric: {selector.name}"
        matched = {matcher.name for matcher in selector.matchers.matchers}
        assert matched <= known[selector.name], f"{selector.name} has no label {matched - known[selector.name]}"
        used |= known[selector.name]
        names.append(selector.name)
    assert names, expression
    assert set(grouping(expression)) <= used


def dashboard_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$channel", ".*")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["expr"]


# --- rules ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_a_rule_uses_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    check_expression(rule["expr"])


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_a_rule_says_how_severe_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["alert"].startswith("Okno") and re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert 10 < len(summary) < 80 and len(description) > len(summary) and description.endswith(".")
    for name in re.findall(r"\$labels\.(\w+)", summary + description):
        aggregated = set(grouping(rule["expr"]))
        assert name in aggregated or not aggregated, name


# Alert → series that fire it, and series that do not, as "metric{labels}": values at 0, 1, 2, … minutes.
UP, STEADY = "0+10x60", "5x60"
EXAMPLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "OknoDown": ({'up{job="okno"}': "0x60"}, {'up{job="okno"}': "1x60"}),
    "OknoDatabaseDown": ({"okno_database_up": "0x60"}, {"okno_database_up": "1x60"}),
    "OknoBrokerDown": ({"okno_broker_up": "0x60"}, {"okno_broker_up": "1x60"}),
    "OknoScrapeIncomplete": (
        {'okno_scrape_group_up{group="inbox"}': "0x60", "okno_database_up": "1x60"},
        {'okno_scrape_group_up{group="inbox"}': "0x60", "okno_database_up": "0x60"},
    ),
    "OknoComponentStopped": (
        {'okno_heartbeat_age_seconds{component="beat"}': "61x60"},
        {'okno_heartbeat_age_seconds{component="beat"}': "9x60"},
    ),
    "OknoWebhooksWaiting": (
        {'okno_inbox_oldest_seconds{channel="api-1"}': "121x60"},
        {'okno_inbox_oldest_seconds{channel="api-1"}': "2x60"},
    ),
    "OknoDeliveriesWaiting": (
        {"okno_oldest_due_delivery_seconds": "301x60"},
        {"okno_oldest_due_delivery_seconds": "3x60"},
    ),
    "OknoWebhooksFail": (
        {'okno_webhook_events_finished_total{channel="api-1",outcome="failed"}': "0x58 0 1"},
        {'okno_webhook_events_finished_total{channel="api-1",outcome="processed"}': UP},
    ),
    "OknoDeadLetters": (
        {'okno_deliveries{state="dead"}': "3x59 4"},
        {'okno_deliveries{state="dead"}': "3x60", 'okno_deliveries{state="pending"}': UP},
    ),
    "OknoAttemptsFail": (
        {
            'okno_delivery_attempts_total{channel="api-1",kind="message",verdict="retry"}': "0+6x60",
            'okno_delivery_attempts_total{channel="api-1",kind="message",verdict="accepted"}': "0+4x60",
        },
        {
            'okno_delivery_attempts_total{channel="api-1",kind="message",verdict="retry"}': "0+4x60",
            'okno_delivery_attempts_total{channel="api-1",kind="message",verdict="accepted"}': "0+6x60",
        },
    ),
    "OknoDeliveriesSlow": (
        {
            'okno_delivery_delay_seconds_bucket{kind="message",stage="first_attempt",le="30"}': "0+1x60",
            'okno_delivery_delay_seconds_bucket{kind="message",stage="first_attempt",le="60"}': UP,
            'okno_delivery_delay_seconds_bucket{kind="message",stage="first_attempt",le="+Inf"}': UP,
            'okno_delivery_delay_seconds_count{kind="message",stage="first_attempt"}': UP,
        },
        {
            'okno_delivery_delay_seconds_bucket{kind="message",stage="first_attempt",le="30"}': UP,
            'okno_delivery_delay_seconds_bucket{kind="message",stage="first_attempt",le="+Inf"}': UP,
            'okno_delivery_delay_seconds_count{kind="message",stage="first_attempt"}': UP,
        },
    ),
    "OknoFilesWaiting": ({"okno_files_oldest_due_seconds": "901x60"}, {"okno_files_oldest_due_seconds": "30x60"}),
    "OknoMismatches": (
        {'okno_mismatches{kind="stray"}': "0x59 1"},
        {'okno_mismatches{kind="stray"}': STEADY},
    ),
    "OknoWindowsExpireLate": (
        {"okno_window_expiry_lag_seconds": "121x60"},
        {"okno_window_expiry_lag_seconds": "5x60"},
    ),
    "OknoChannelFailing": (
        {'okno_channel_info{channel="api-1",kind="acebot",name="Shop",state="failing"}': "1x60"},
        {'okno_channel_info{channel="api-1",kind="acebot",name="Shop",state="live"}': "1x60"},
    ),
    "OknoBreakerOpen": (
        {'okno_circuit_breaker_open{channel="api-1"}': "1x60"},
        {'okno_circuit_breaker_open{channel="api-1"}': "0x60"},
    ),
    "OknoAlertsOpen": (
        {'okno_alerts_open{kind="mismatch",severity="warning"}': "1x60"},
        {'okno_alerts_open{kind="mismatch",severity="critical"}': "1x60"},
    ),
    "OknoCriticalAlertOpen": (
        {'okno_alerts_open{kind="breaker",severity="critical"}': "1x60"},
        {'okno_alerts_open{kind="breaker",severity="critical"}': "0x60"},
    ),
    "OknoDiskLow": ({"okno_disk_free_bytes": "2000000000x60"}, {"okno_disk_free_bytes": "9000000000x60"}),
    "OknoDiskFullSoon": (
        {"okno_disk_free_bytes": "15000000000-100000000x60"},
        {"okno_disk_free_bytes": "15000000000x60"},
    ),
    "OknoBackupOld": (
        {"okno_backup_age_seconds": "180000x60", "okno_backup_max_age_seconds": "172800x60"},
        {"okno_backup_age_seconds": "180000x60", "okno_backup_max_age_seconds": "259200x60"},
    ),
    "OknoServerErrors": (
        {
            'okno_http_request_duration_seconds_count{route="/webhooks/",method="POST",status="5xx"}': "0+1x60",
            'okno_http_request_duration_seconds_count{route="/webhooks/",method="POST",status="2xx"}': "0+9x60",
        },
        {
            'okno_http_request_duration_seconds_count{route="/webhooks/",method="POST",status="4xx"}': "0+1x60",
            'okno_http_request_duration_seconds_count{route="/webhooks/",method="POST",status="2xx"}': "0+9x60",
        },
    ),
    "OknoTasksFail": (
        {'okno_task_runs_total{task="sync_templates",outcome="failure"}': "0+1x60"},
        {'okno_task_runs_total{task="sync_templates",outcome="success"}': "0+1x60"},
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_a_rule_fires_for_its_fault_and_is_quiet_otherwise(rule: dict[str, Any]) -> None:
    faulty, healthy = EXAMPLES[rule["alert"]]
    now = 60 * 60.0

    assert evaluate(promql_parser.parse(rule["expr"]), Series.parse(faulty), now)
    assert not evaluate(promql_parser.parse(rule["expr"]), Series.parse(healthy), now)


# --- dashboard --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_dashboard_uses_metrics_and_labels_that_exist() -> None:
    for expression in dashboard_expressions():
        check_expression(expression)


def test_the_dashboard_has_all_rows_and_shows_every_counter_and_gauge() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    shown = {selector.name for text in dashboard_expressions() for selector in selectors(promql_parser.parse(text))}
    names = {re.sub("_(bucket|count|sum)$", "", name) for name in shown}

    assert rows == ["Now", "Traffic", "Latency", "Queues", "Windows", "Channels", "System"]
    assert set(counters.CATALOG) - names == set()


def test_panels_have_units_places_and_numbers_of_their_own() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    places: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & places and place["x"] + place["w"] <= 24, panel["title"]
        places |= cells
        assert panel["type"] in ("timeseries", "stat") and panel["datasource"] == {
            "type": "prometheus",
            "uid": "${datasource}",
        }
        expression, unit = panel["targets"][0]["expr"], panel["fieldConfig"]["defaults"]["unit"]
        if "histogram_quantile" in expression or "_seconds" in expression.split("_count")[0]:
            assert unit in ("s", "reqps"), panel["title"]
        elif "/ (sum" in expression:
            assert unit == "percentunit"
        elif "rate(" in expression:
            assert unit in ("cps", "reqps"), panel["title"]
        elif "_bytes" in expression:
            assert unit == "bytes"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and DASHBOARD["id"] is None


def test_the_channel_variable_reads_names_with_quotes() -> None:
    """Grafana applies the pattern to lines like these, with sorted labels."""
    variable = next(each for each in DASHBOARD["templating"]["list"] if each["name"] == "channel")
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    line = r'okno_channel_info{channel="api-3",job="okno",kind="acebot",name="The \"Shop\"",state="live"} 1 1'

    found = pattern.search(line)

    assert found is not None and found["value"] == "api-3" and found["text"] == r"The \"Shop\""
    assert variable["multi"] and variable["allValue"] == ".*"
