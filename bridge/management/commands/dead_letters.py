"""List, resend or discard dead letters: deliveries that failed for good or have an unknown outcome."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from bridge import outcomes
from bridge.models import BulkAction, Delivery
from bridge.outbox import bulk_resend, resend
from bridge.outbox.bulk_resend import DeadLetterFilter
from bridge.outbox.resend import UNRESOLVED_STATES


class Command(BaseCommand):
    help = "List, resend or discard deliveries that failed for good or have an unknown outcome."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="List them, the newest first.")
        listing.add_argument("--limit", type=int, default=100, help="Show at most this many.")
        listing.add_argument("--output", choices=["text", "json"], default="text", help="Format of the output.")
        resend_parser = actions.add_parser("resend", help="Send them again with the same key and content.")
        discard = actions.add_parser("discard", help="Discard them, so that they are no longer listed.")
        for action in (resend_parser, discard):
            action.add_argument("id", nargs="*", type=int, help="Delivery IDs.")
            action.add_argument("--all", action="store_true", help="All dead letters that match the other options.")
        for action in (listing, resend_parser, discard):
            action.add_argument("--channel", type=int, help="Only of the API channel with this ID.")
            action.add_argument("--since", help="Only created since this time, for example 2026-11-22T10:00+03:00.")
            action.add_argument("--reason", help="Only with this reason code; see “list --output json”.")
        resend_parser.add_argument("--dry-run", action="store_true", help="Only show what would happen now.")
        resend_parser.add_argument(
            "--include-unknown", action="store_true", help="With --all: also deliveries with an unknown outcome."
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        since = options["since"] and parse_datetime(options["since"])
        if options["since"] is not None and (not since or since.tzinfo is None):
            raise CommandError("--since must be a time with a UTC offset, for example 2026-11-22T10:00+03:00.")
        chosen = DeadLetterFilter(
            states=UNRESOLVED_STATES,
            api_channel=options["channel"],
            reason=options["reason"] or "",
            since=since.isoformat() if since else "",
            ids=tuple(options["id"]) if options.get("id") else None,
            include_unknown=options.get("include_unknown", False),
        )
        if action == "list":
            self.show(chosen.find_deliveries().order_by("-pk")[: max(options["limit"], 0)], output=options["output"])
            return
        if options["all"] == bool(options["id"]):
            raise CommandError("Give either delivery IDs or --all.")
        if action == "resend" and options["dry_run"]:
            self.show_preview(chosen)
        elif options["all"]:
            self.run_bulk_action(chosen, action=BulkAction.Action(action))
        else:
            self.run_action(chosen, action=action, id_count=len(set(options["id"])))

    def run_bulk_action(self, chosen: DeadLetterFilter, *, action: str) -> None:
        """Run a bulk action as in the admin. Deliveries that cannot succeed or may have been sent are skipped."""
        job = bulk_resend.start_bulk_action(chosen, action=action, by=None)
        while not job.finished_at:
            bulk_resend.run_bulk_actions(only=job.pk)
            job.refresh_from_db()
        self.stdout.write(f"{job.done} {'queued' if action == BulkAction.Action.RESEND else 'discarded'}.")
        for code, count in job.skipped.items():
            self.stdout.write(f"{count} skipped: {outcomes.render_sentence(code)}")

    def run_action(self, chosen: DeadLetterFilter, *, action: str, id_count: int) -> None:
        """Resend or discard deliveries given by ID, without checking whether a resend can succeed."""
        pks = list(chosen.find_deliveries().values_list("pk", flat=True))
        done = resend.resend_deliveries(*pks) if action == "resend" else resend.discard_deliveries(*pks)
        self.stdout.write(f"{done} {'queued' if action == 'resend' else 'discarded'}.")
        if done < id_count:
            raise CommandError("The other IDs do not exist or are not dead letters.")

    def show(self, rows: QuerySet[Delivery], *, output: str) -> None:
        found = [
            {
                "id": row.pk,
                "kind": row.kind,
                "state": row.state,
                "api_channel": row.api_channel_id,
                "chat_id": row.conversation_id,
                "attempts": row.attempts,
                "created_at": row.created_at.isoformat(timespec="seconds"),
                "reason": row.reason,
                "sentence": outcomes.render_sentence(row.reason),
            }
            for row in rows
        ]
        if output == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            self.stdout.write(
                f"{row['id']:>8}  {row['state']:8} {row['kind']:8} channel {row['api_channel']}  "
                f"chat {row['chat_id']}  {row['created_at']}  attempts {row['attempts']}  {row['sentence']}"
            )
        if not found:
            self.stderr.write("No dead letters.")

    def show_preview(self, chosen: DeadLetterFilter) -> None:
        for preview in resend.preview_resend(list(chosen.find_deliveries())):
            self.stdout.write(f"{preview.delivery.pk:>8}  {preview.sentence}")
