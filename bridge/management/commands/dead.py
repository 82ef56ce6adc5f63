"""Deliveries in trouble: given up, or with an outcome that nobody knows."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from bridge import outbox, relay, replay
from bridge.models import Delivery
from bridge.replay import TROUBLE


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
        retry.add_argument("--dry-run", action="store_true", help="Only say what would happen now.")
        retry.add_argument("--unknown-too", action="store_true", help="With --all: also those that may have been sent.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        rows = Delivery.objects.filter(state__in=TROUBLE).order_by("-pk")
        if options["channel"] is not None:
            rows = rows.filter(api_channel=options["channel"])
        if options["since"] is not None:
            since = parse_datetime(options["since"])
            if since is None or since.tzinfo is None:
                raise CommandError("--since must be a time with its zone, as 2026-11-22T10:00+03:00.")
            rows = rows.filter(created_at__gte=since)
        if action == "list":
            self.show(rows[: max(options["limit"], 0)], output=options["output"])
            return
        if options["all"] == bool(options["id"]):
            raise CommandError("Name the deliveries by their numbers, or say --all.")
        chosen = rows.order_by("pk") if options["all"] else rows.filter(pk__in=options["id"]).order_by("pk")
        if action == "retry" and options["dry_run"]:
            self.foretell(chosen)
            return
        if action == "retry" and options["all"] and not options["unknown_too"]:
            chosen = chosen.exclude(state=Delivery.State.UNKNOWN)
        done = self.retry(chosen) if action == "retry" else self.discard(chosen)
        self.stdout.write(f"{done} {'queued again' if action == 'retry' else 'put aside'}.")
        if not options["all"] and done < len(set(options["id"])):
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
                "sentence": outbox.sentence(row),
            }
            for row in rows.defer("payload")
        ]
        if output == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for row in found:
            self.stdout.write(
                f"{row['id']:>8}  {row['state']:8} {row['kind']:8} channel {row['api_channel']}  "
                f"chat {row['chat_id']}  {row['created_at']}  {row['attempts']} tries  {row['sentence']}"
            )

    def foretell(self, rows: QuerySet[Delivery]) -> None:
        for judged in replay.forecast(list(rows.select_related("message", "api_channel"))):
            self.stdout.write(f"{judged.delivery.pk:>8}  {judged.sentence}")

    def retry(self, rows: QuerySet[Delivery]) -> int:
        return sum(relay.send_again(pk) for pk in rows.values_list("pk", flat=True))

    def discard(self, rows: QuerySet[Delivery]) -> int:
        return Delivery.objects.filter(pk__in=rows.values("pk"), state__in=TROUBLE).update(
            state=Delivery.State.CANCELLED, reason="discarded"
        )
