"""Rates at saturation: the intake alone, and end to end, in turns with the baselines."""

from __future__ import annotations

import statistics

from tests.load.results import Report, divide_rounds
from tests.load.wire import Sent

from .public_package import PublicPackage
from .stack import Run, Stack, add_channel

CLOUD = {"phone_number_id": "1", "waba_id": "2", "access_token": "EAAbench-000000", "app_secret": "bench-app-secret"}


def measure_intake(stack: Stack, report: Report, *, rounds: int, size: int) -> None:
    """Compare the webhook with views that only insert a row. Only the web processes run."""
    from bridge.models import WebhookEvent
    from channels_setup import account_settings

    phone, cloud = add_channel("sandbox"), add_channel("whatsapp_cloud")
    account_settings.save_values(cloud, CLOUD)
    paths = {"ours": phone.webhook_path, "bare": "/webhooks/bench/bare", "bare, all middleware": "/bare"}
    rates: dict[str, list[float]] = {name: [] for name in paths}
    sent: list[Sent] = []
    for turn in range(rounds + 1):
        for name, path in paths.items():
            result = stack.post(path, count=size)
            if turn:  # the first round is a warm-up
                rates[name].append(size / result.seconds)
                sent += [result] if name == "ours" else []
    many = stack.post(phone.webhook_path, count=10, lines=1, batch=1_000)
    signed = stack.post(cloud.webhook_path, count=10, lines=1, batch=1_000, secret=CLOUD["app_secret"])
    WebhookEvent.objects.filter(api_channel__in=[phone, cloud]).delete()  # no worker shall process them later
    for name, values in rates.items():
        report.add(f"intake: {name}", values, "/s")
    ratio = divide_rounds(rates["ours"], rates["bare, all middleware"])
    report.add("intake / bare view behind all middleware", ratio, target="≥ 1.6", digits=2)
    report.add("intake / bare view", divide_rounds(rates["ours"], rates["bare"]), digits=2)
    report.add("intake: sender's CPU per request", [1000 * one.cpu_seconds / size for one in sent], "ms", digits=3)
    for name, took in (("1,000 in one POST", many.took()), ("1,000 of Meta's in one signed POST", signed.took())):
        report.add(f"intake: {name}", [1000 * seconds for seconds in took], "ms", target="≤ 250 ms")


def measure_end_to_end(stack: Stack, report: Report, *, rounds: int, size: int, package: PublicPackage | None) -> float:
    """Compare with one task per message, the limit design and a public package. Return our rate."""
    paths = {
        "ours": (stack.add_watched_phone().webhook_path, size, None),
        "limit": (f"/webhooks/bench/limit?to={stack.receiver.url('/hook')}", size, None),
        "one task per message": (f"/each?to={stack.receiver.url('/hook')}", max(size // 8, 100), None),
    }
    stack.start_naive_worker()
    if package is not None:
        package.start(stack)
        paths["public package"] = ("/store", max(size // 8, 100), package.port)
    runs: dict[str, list[Run]] = {name: [] for name in paths}
    for turn in range(rounds + 1):
        for name, (path, count, port) in paths.items():
            if name == "limit":
                stack.start_limit_relay()
            result = stack.relay(path, count if turn else min(count, 300), port=port)  # the first round is a warm-up
            if turn:
                runs[name].append(result)
            stack.stop("limit")
    stack.stop("naive", "public web", "public worker")
    rates = {name: [run.rate for run in of_one] for name, of_one in runs.items()}
    for name, values in rates.items():
        report.add(f"end to end: {name}", values, "/s")
    against = divide_rounds(rates["ours"], rates["one task per message"])
    report.add("end to end / one task per message", against, "×", target="≥ 8", digits=1)
    report.add("end to end / limit", divide_rounds(rates["ours"], rates["limit"]), target="≥ 0.65", digits=2)
    if package is not None:
        against = divide_rounds(rates["ours"], rates["public package"])
        report.add("end to end / public package", against, "×", digits=1)
    for name in paths:
        _report_costs(report, name, runs[name])
    return statistics.median(rates["ours"])


def _report_costs(report: Report, name: str, runs: list[Run]) -> None:
    per_message = [{group: 1000 * seconds / len(run.lags) for group, seconds in run.costs.cpu.items()} for run in runs]
    report.add(f"CPU per message: {name}", [sum(cpu.values()) for cpu in per_message], "ms", digits=2)
    for group in per_message[0]:
        share = statistics.median(cpu[group] / sum(cpu.values()) for cpu in per_message)
        if share >= 0.01:  # idle processes of the other designs have less
            values = [cpu[group] for cpu in per_message]
            report.add(f"CPU per message: {name}, {group}", values, "ms", digits=3, note=f"{share:.0%}")
    target = "≤ 9 kB" if name == "ours" else ""
    wal = [run.costs.wal / len(run.lags) / 1000 for run in runs]
    report.add(f"WAL per message: {name}", wal, "kB", target=target, digits=1)
