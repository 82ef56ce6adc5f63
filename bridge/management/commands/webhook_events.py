"""List webhook events, and process failed ones again."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from bridge import wakeups
from bridge.inbox import processing
from bridge.models import WebhookEvent


class Command(BaseCommand):
    help = "List webhook events, and process failed ones again."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="List events, the newest first.")
        listing.add_argument(
            "--state",
            choices=WebhookEvent.State.values,
            default=WebhookEvent.State.FAILED,
            help="Show events in this state.",
        )
        listing.add_argument("--limit", type=int, default=100, help="Show at most this many.")
        listing.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")
        reprocess = actions.add_parser("reprocess", help="Queue failed and unrouted events again.")
        reprocess.add_argument("id", nargs="*", type=int, help="Numbers of events, as listed.")
        reprocess.add_argument("--all", action="store_true", help="All failed and unrouted events (of --channel).")
        for action in (listing, reprocess):
            action.add_argument("--channel", type=int, help="Only of the API channel with this ID.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        rows = WebhookEvent.objects.order_by("-pk")
        if options["channel"] is not None:
            rows = rows.filter(api_channel=options["channel"])
        if action == "list":
            rows = rows.filter(state=options["state"])
            self.show(rows[: max(options["limit"], 0)], output=options["output"])
        else:
            self.reprocess(rows, ids=options["id"], everything=options["all"])

    def show(self, rows: QuerySet[WebhookEvent], *, output: str) -> None:
        found = [
            {
                "id": row.pk,
                "api_channel": row.api_channel_id,
                "endpoint": row.endpoint,
                "state": row.state,
                "received_at": row.received_at.isoformat(timespec="seconds"),
                "attempts": row.attempts,
                "error": row.error,
            }
            for row in rows.defer("body", "traceback")
        ]
        if output == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            self.stdout.write(
                f"{row['id']:>8}  {row['state']:9} channel {row['api_channel']}  {row['endpoint']}  "
                f"{row['received_at']}  {row['error']}"
            )
        if not found:
            self.stderr.write("No such events.")

    def reprocess(self, rows: QuerySet[WebhookEvent], *, ids: list[int], everything: bool) -> None:
        if everything == bool(ids):
            raise CommandError("Give either event IDs or --all.")
        if everything:
            ids = list(rows.filter(state__in=WebhookEvent.STUCK).values_list("pk", flat=True))
        done = processing.reprocess_events(ids)
        wakeups.notify_workers(wakeups.INBOUND)
        self.stdout.write(f"{done} queued again.")
        if not everything and done < len(set(ids)):
            raise CommandError("The other IDs do not exist, have not failed, or are API calls, which are not repeated.")
