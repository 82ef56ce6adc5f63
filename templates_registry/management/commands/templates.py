"""Command "templates": import, export, lint and synchronize templates."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from channels_setup.models import ApiChannel
from channels_setup.provisioning import AmbiguousName, find_by_number_or_name
from config.audit import record
from templates_registry.content.components import Level, Problem, TemplateDefinition
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.linting import lint_registry
from templates_registry.models import Template
from templates_registry.provider import provider_sync
from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import file_formats, import_plan
from templates_registry.transfer.import_plan import ChangeKind, ImportPlan, PlanItem

SIGNS = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}


class Command(BaseCommand):
    help = "Import, export, check and synchronize the templates of one API channel or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        import_parser = actions.add_parser("import", help="Import a file of templates: JSON, CSV or XLSX.")
        import_parser.add_argument("file", help="File to import; - for stdin.")
        import_parser.add_argument("--dry-run", action="store_true", help="Show the changes without writing them.")
        export_parser = actions.add_parser("export", help="Export all templates except deleted ones.")
        export_parser.add_argument("file", nargs="?", default="-", help="Output file; - or no argument for stdout.")
        export_parser.add_argument(
            "--format", choices=list(file_formats.CONTENT_TYPES), default="json", help="Format of the file."
        )
        actions.add_parser(
            "lint", help="List the problems of all templates. The exit code is 1 if one of them is an error."
        )
        actions.add_parser("sync", help="Synchronize with the provider's list, if the provider has one.")
        for name, subparser in actions.choices.items():
            subparser.add_argument("--channel", help="Number or name of the API channel.")
            if name != "export":
                subparser.add_argument(
                    "--output", choices=["text", "json"], default="text", help="Format of the output."
                )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        channel = self._channel(options["channel"])
        getattr(self, f"do_{action}")(channel, options)

    def _channel(self, text: str | None) -> ApiChannel | None:
        if text is None:
            return None
        try:
            channel = find_by_number_or_name(ApiChannel.objects.all(), text)
        except AmbiguousName as problem:
            raise CommandError(str(problem)) from problem
        if channel is None:
            raise CommandError(f"There is no API channel “{text}”. See: manage.py channel list")
        return channel

    # --- import ---

    def do_import(self, channel: ApiChannel | None, options: dict[str, Any]) -> None:
        try:
            data = sys.stdin.buffer.read() if options["file"] == "-" else Path(options["file"]).read_bytes()
            plan = import_plan.build_plan(file_formats.read_file(data), api_channel=channel)
        except OSError as problem:
            raise CommandError(f"The file cannot be read: {problem.strerror}.") from problem
        except InvalidTemplateData as problem:
            raise CommandError(str(problem.sentence)) from problem
        if not options["dry_run"]:
            plan = import_plan.apply_plan(plan, by=ChangeAuthor(source=Source.IMPORT))
        self._show(plan, options)
        if plan.counts["refused"]:
            sys.exit(1)

    def _show(self, plan: ImportPlan, options: dict[str, Any]) -> None:
        if options["output"] == "json":
            items = [item.as_json() for item in plan.items]
            answer = {"dry_run": options["dry_run"], "counts": plan.counts, "items": items}
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
            return
        for item in plan.items:
            if item.kind != ChangeKind.SAME:
                self._show_item(item)
        counts = ", ".join(f"{count} {kind}" for kind, count in plan.counts.items())
        self.stdout.write(f"{'Nothing was written: ' if options['dry_run'] else ''}{counts}.")

    def _show_item(self, item: PlanItem) -> None:
        self.stdout.write(f"{item.kind.value:8} {item.name or '?'} · {item.language or '?'}")
        for field, old, new in item.changes:
            self.stdout.write(f"           {field}: {old or '–'} → {new or '–'}")
        if item.text:
            text = "".join(SIGNS[piece.kind].format(piece.text) for piece in item.text)
            self.stdout.write("           " + text.replace("\n", "\n           "))
        for sentence in item.sentences:
            self.stdout.write(f"         ! {sentence}")

    # --- export ---

    def do_export(self, channel: ApiChannel | None, options: dict[str, Any]) -> None:
        details = {"channel": channel.pk} if channel else {}
        record.record_export("templates_registry.template", details=details)
        data = file_formats.export_templates(
            _templates(channel).select_related("api_channel"), file_format=options["format"]
        )
        if options["file"] == "-":
            if options["format"] == "xlsx" and sys.stdout.isatty():
                raise CommandError("Enter an output file. An XLSX file cannot be written to a terminal.")
            self._write_bytes(data)
            return
        try:
            Path(options["file"]).write_bytes(data)
        except OSError as problem:
            raise CommandError(f"The file cannot be written: {problem.strerror}.") from problem

    def _write_bytes(self, data: bytes) -> None:
        out = getattr(self.stdout, "_out", sys.stdout)
        if hasattr(out, "buffer"):
            out.buffer.write(data)
            out.buffer.flush()
        else:
            out.write(data.decode("utf-8"))

    # --- lint and sync ---

    def do_lint(self, channel: ApiChannel | None, options: dict[str, Any]) -> None:
        found: list[dict[str, Any]] = []
        for one in [channel] if channel else ApiChannel.objects.all():
            found += self._problems(one)
        if options["output"] == "json":
            self.stdout.write(json.dumps(found, ensure_ascii=False))
        else:
            for row in found:
                where = f"{row['channel']}: {row['name']} · {row['language']}"
                self.stdout.write(f"{row['level']:8} {where}: {row['field']}: {row['sentence']}")
            self.stdout.write(f"{len(found)} problems in {_templates(channel).count()} templates.")
        if any(row["level"] == Level.ERROR for row in found):
            sys.exit(1)

    def _problems(self, channel: ApiChannel) -> list[dict[str, Any]]:
        definitions: list[TemplateDefinition] = []
        rows: list[dict[str, Any]] = []
        for template in _templates(channel):
            try:
                definitions.append(template.definition)
            except InvalidTemplate as problem:
                unreadable = Problem("components", problem.code)
                rows.append(_problem_row(channel, (template.name, template.language), unreadable))
        for key, problems in lint_registry(definitions).items():
            rows += [_problem_row(channel, key, problem) for problem in problems]
        return rows

    def do_sync(self, channel: ApiChannel | None, options: dict[str, Any]) -> None:
        if channel is not None and not provider_sync.may_sync(channel):
            raise CommandError("The provider of this channel has no list of templates, or the channel is archived.")
        channels = [channel] if channel else [one for one in ApiChannel.objects.all() if provider_sync.may_sync(one)]
        results = [(one, provider_sync.sync_channel(one)) for one in channels]
        if options["output"] == "json":
            answers = [
                {"channel": one.pk, "error": result.error, "sentence": result.sentence} for one, result in results
            ]
            self.stdout.write(json.dumps(answers, ensure_ascii=False))
        else:
            for one, result in results:
                self.stdout.write(f"{one}: {result.sentence}")
        if any(result.error for _one, result in results):
            sys.exit(1)


def _templates(channel: ApiChannel | None) -> Any:
    rows = Template.objects.exclude(status="deleted").order_by("api_channel_id", "name", "language")
    return rows.filter(api_channel=channel) if channel else rows


def _problem_row(channel: ApiChannel, key: tuple[str, str], problem: Problem) -> dict[str, Any]:
    return {
        "channel": str(channel),
        "name": key[0],
        "language": key[1],
        "field": problem.field,
        "code": problem.code,
        "level": problem.level.value,
        "sentence": str(problem.sentence),
    }
