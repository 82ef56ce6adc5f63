"""Say what is wrong with the portal, and what to do."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management import BaseCommand, CommandParser

from config.monitoring.doctor import Finding, Severity, examine


class Command(BaseCommand):
    help = (
        "Say what is wrong with the portal, and what to do. Exit code 1 if something needs action. "
        "Changes nothing, and calls no other machines without --network or --send-mail."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--network", action="store_true", help="Also call the public URL and each channel's provider."
        )
        parser.add_argument("--send-mail", metavar="ADDRESS", default="", help="Also send a test email there.")
        parser.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = examine(with_network=options["network"], mail_to=options["send_mail"])
        if options["output"] == "json":
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
        else:
            self.write_lines(sorted(findings, key=lambda finding: list(Severity).index(finding.severity)))
        if any(finding.severity != Severity.NOTE for finding in findings):
            raise SystemExit(1)

    def write_lines(self, findings: list[Finding]) -> None:
        styles: dict[Severity, Callable[[str], str]] = {
            Severity.ERROR: self.style.ERROR,
            Severity.WARNING: self.style.WARNING,
            Severity.NOTE: str,
        }
        for finding in findings:
            word = styles[finding.severity](f"{finding.severity:8}")
            self.stdout.write(f"{word}{finding.code:22} {finding.problem} {finding.action}".rstrip())
        count = Counter(finding.severity for finding in findings)
        self.stdout.write(", ".join(f"{severity}s: {count[severity]}" for severity in Severity))
