"""Deliveries in trouble: given up, or with an outcome that nobody knows."""

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
    help = "List deliveries that were given up or whose outcome is unknown; send them again, or put them aside."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="The newest first.")
        listing.add_argument("--limit", type=int, default=100)
        listing.add_argument("--output", choices=["text", "json"], default="text")
        retry = actions.add_parser("retry", help="Send again: same key, same content, the window checked as ever.")
        discard = actions.add_parser("discard", help="Put aside: they are listed no more.")
        for action in (retry, discard):
            action.add_argument("id", nargs="*", type=int)
            action.add_argument("--all", action="store_true", help="Every one of them (or of --channel).")
        for action in (listing, retry, discard):
            action.add_argument("--channel", type=int, help="Only of this API channel, by its number.")
            action.add_argument("--since", help="Only those made since this time, as 2026-11-22T10:00+03:00.")
            action.add_argument("--reason", help="Only with this code, as “dead list --output json” shows it.")
        retry.add_argument("--dry-run", action="store_true", help="Only say what would happen now.")
        retry.add_argument("--unknown-too", action="store_true", help="With --all: also those that may have been sent.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        since = options["since"] and parse_datetime(options["since"])
        if options["since"] is not None and (not since or since.tzinfo is None):
            raise CommandError("--since must be a time with its zone, as 2026-11-22T10:00+03:00.")
        chosen = DeadLetterFilter(
            states=UNRESOLVED_STATES,
            api_channel=options["channel"],
            reason=options["reason"] or "",
            since=since.isoformat() if since else "",
            ids=tuple(options["id"]) if options.get("id") else None,
            unknown_too=options.get("unknown_too", False),
        )
        if action == "list":
            self.show(chosen.rows().order_by("-pk")[: max(options["limit"], 0)], output=options["output"])
            return
        if options["all"] == bool(options["id"]):
            raise CommandError("Name the deliveries by their numbers, or say --all.")
        if action == "retry" and options["dry_run"]:
            self.foretell(chosen)
        elif options["all"]:
            self.do_all(chosen, what=BulkAction.What.RESEND if action == "retry" else BulkAction.What.DISCARD)
        else:
            self.do_some(chosen, action=action, asked=len(set(options["id"])))

    def do_all(self, chosen: DeadLetterFilter, *, what: str) -> None:
        """As the page does it: what would come back, or may have been sent, is left where it is and counted."""
        job = bulk_resend.start_bulk_action(chosen, what=what, by=None)
        while not job.finished_at:
            bulk_resend.run_bulk_actions(only=job.pk)
            job.refresh_from_db()
        self.stdout.write(f"{job.done} {'queued again' if what == BulkAction.What.RESEND else 'put aside'}.")
        for code, count in job.skipped.items():
            self.stdout.write(f"{count} left where they are: {outcomes.render_sentence(code)}")

    def do_some(self, chosen: DeadLetterFilter, *, action: str, asked: int) -> None:
        """Those named by their numbers: somebody looked at them, so they are not judged once more."""
        pks = list(chosen.rows().values_list("pk", flat=True))
        done = resend.resend_deliveries(*pks) if action == "retry" else resend.discard_deliveries(*pks)
        self.stdout.write(f"{done} {'queued again' if action == 'retry' else 'put aside'}.")
        if done < asked:
            raise CommandError("The others are not in trouble, or do not exist.")

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
                f"chat {row['chat_id']}  {row['created_at']}  tried {row['attempts']} ×  {row['sentence']}"
            )

    def foretell(self, chosen: DeadLetterFilter) -> None:
        for judged in resend.preview_resend(list(chosen.rows())):
            self.stdout.write(f"{judged.delivery.pk:>8}  {judged.sentence}")
