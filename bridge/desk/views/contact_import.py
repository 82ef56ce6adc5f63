"""Import of contacts: upload, dry run with the mapping of columns, progress, and the file of refused rows."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from bridge.conversations import contact_fields
from bridge.desk import forms
from bridge.desk.contacts import files, import_undo, imports
from bridge.desk.parameters import parse_int
from bridge.models import ConsentSource, ContactImport
from bridge.relay import chat_starts
from channels_setup.permissions import require_chat_access
from templates_registry.transfer.file_formats import CONTENT_TYPES

MAX_SHOWN = 20
MAX_HISTORY = 100
FINISHED = (ContactImport.State.DONE, ContactImport.State.UNDOING, ContactImport.State.UNDONE)


def _field_titles() -> dict[str, str]:
    return {
        files.PHONE: _("Phone"),
        files.NAME: pgettext("person", "Name"),
        files.EMAIL: _("Email"),
        files.TAGS: _("Tags"),
        files.OPTED_OUT: _("Opted out"),
        **_own_titles(),
    }


def _own_titles() -> dict[str, str]:
    return {f"{contact_fields.PREFIX}{field.pk}": field.name for field in contact_fields.list_fields()}


@require_chat_access
@permission_required(imports.IMPORT_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def start_import(request: HttpRequest) -> HttpResponse:
    """Upload a file. Nothing is changed before the import is confirmed."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    channels = [row.api_channel for row in chat_starts.list_start_channels(request.user)]
    problem, user = "", request.user
    if request.method == "POST":
        channel = next((row for row in channels if row.pk == parse_int(request.POST.get("channel"))), None)
        file = request.FILES.get("file")
        if channel is None:
            problem = _("Choose a channel.")
        elif file is None:
            problem = _("Choose a file.")
        elif (file.size or 0) > files.MAX_BYTES:
            problem = _("The file is larger than %(limit)d MB.") % {"limit": files.MAX_BYTES // 1024**2}
        else:
            try:
                titles, rows = files.read_table(file.read())
            except files.UnreadableFile as error:
                problem = str(error)
            else:
                row = ContactImport(author=user, api_channel=channel, file_name=(file.name or "")[:200])  # type: ignore[misc]
                row.titles, row.rows, row.total = titles, rows, len(rows)
                row.options = {"mapping": files.guess_mapping(titles, rows, _own_titles())}
                _run_dry(row, user)
                return redirect("contacts-import-one", pk=row.pk)
    stored = ContactImport.objects.defer("titles", "rows", "refused", "created").select_related("api_channel", "author")
    shown = stored.filter(_visible_imports(user, [channel.pk for channel in channels])).order_by("-pk")
    context: dict[str, Any] = {
        "section": "contacts",
        "channels": channels,
        "problem": problem,
        "unfinished": shown.exclude(state__in=FINISHED)[:MAX_SHOWN],
        "history": shown.filter(state__in=FINISHED)[:MAX_HISTORY],
    }
    context |= {"limit": files.MAX_ROWS, "megabytes": files.MAX_BYTES // 1024**2}
    return render(request, "bridge/contact_import.html", context, status=422 if problem else 200)


def _visible_imports(user: Any, channels: list[int]) -> Q:
    """Match the imports on the user's channels: finished ones of all authors, and unfinished ones of the user."""
    return Q(api_channel__in=channels) & (Q(author=user) | Q(state__in=FINISHED))


def _run_dry(row: ContactImport, user: Any) -> None:
    """Compute and store the result of the dry run."""
    if files.PHONE in row.options["mapping"]:
        planned = imports.plan_rows(row.api_channel, row.rows, imports.ImportOptions.of_import(row), user=user)
        row.counts = imports.count_results(planned)
        row.refused = [[item.number, item.problem, list(item.cells)] for item in planned if item.problem][:MAX_SHOWN]
    else:
        row.counts, row.refused = {}, []
    row.save()


@require_chat_access
@permission_required(imports.IMPORT_PERMISSION, raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def show_import(request: HttpRequest, pk: int) -> HttpResponse:
    """Handle the steps of one import: ``preview``, ``apply``, ``step``, ``cancel`` and ``undo``."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    user: Any = request.user
    # The author may have lost the channel since the upload.
    channels = [channel.api_channel.pk for channel in chat_starts.list_start_channels(user)]
    visible = ContactImport.objects.filter(_visible_imports(user, channels), pk=pk)
    row = visible.select_related("api_channel", "author").first()
    if row is None:
        raise Http404
    problem = ""
    if request.method == "POST":
        if request.POST.get("step"):
            is_undo = row.state == ContactImport.State.UNDOING
            row = (import_undo.undo_next_batch(pk) if is_undo else imports.apply_next_batch(pk, user=user)) or row
            if "HX-Request" in request.headers:
                return render(request, "bridge/contact_import_progress.html", {"row": row, **_measure_progress(row)})
        elif request.POST.get("undo"):
            import_undo.start_undo(pk)
        elif request.POST.get("cancel") and row.state == ContactImport.State.DRAFT:
            row.delete()
            return redirect("contacts-import")
        elif row.state == ContactImport.State.DRAFT:
            problem = _read_options(request, row)
            _run_dry(row, user)
            if request.POST.get("apply") and not problem:
                # Once: a second tab may have started it.
                draft = ContactImport.objects.filter(pk=pk, state=ContactImport.State.DRAFT)
                draft.update(state=ContactImport.State.RUNNING, counts={}, refused=[])
        if not problem:
            return redirect("contacts-import-one", pk=pk)
    return render(
        request, "bridge/contact_import_one.html", _build_context(row, problem), status=422 if problem else 200
    )


def _read_options(request: HttpRequest, row: ContactImport) -> str:
    """Store the posted mapping and options. Return a sentence if something is missing."""
    mapping: dict[str, int] = {}
    for name in _field_titles():
        column = parse_int(request.POST.get(f"column_{name}"))
        if column and column <= len(row.titles):
            mapping[name] = column - 1
    consent = request.POST.get("consent", "")
    row.options = {
        "mapping": mapping,
        "consent": consent if consent in ConsentSource.values else "",
        "note": request.POST.get("note", "").replace("\0", "").strip()[:200],
        "replaces": bool(request.POST.get("replaces")),
    }
    if files.PHONE not in mapping:
        return _("Say which column contains the phone number.")
    if request.POST.get("apply") and not consent:
        return _("Say how these clients agreed to get messages, or that you do not know it.")
    return ""


def _measure_progress(row: ContactImport) -> dict[str, int]:
    done, total = row.position, row.total
    if row.state in (ContactImport.State.UNDOING, ContactImport.State.UNDONE):
        done = row.counts[import_undo.DELETED] + row.counts[import_undo.KEPT]
        total = done + len(row.created)
    return {"done": done, "total": total, "percent": 100 * done // max(total, 1)}


def _build_context(row: ContactImport, problem: str) -> dict[str, Any]:
    mapping = row.options.get("mapping", {})
    return {
        "section": "contacts",
        "row": row,
        "problem": problem,
        "problem_field": ("consent" if files.PHONE in mapping else files.PHONE) if problem else "",
        **_measure_progress(row),
        "may_undo": import_undo.may_undo(row),
        "fields": [
            {"name": name, "title": title, "column": mapping.get(name, -1) + 1}
            for name, title in _field_titles().items()
        ],
        "columns": list(enumerate(row.titles, 1)),
        "sample": [cells[: len(row.titles)] for cells in row.rows[:3]],
        "refused": row.refused[:MAX_SHOWN],
        "consent_sources": ConsentSource.choices,
        "options": row.options,
    }


@require_chat_access
@permission_required(imports.IMPORT_PERMISSION, raise_exception=True)
@require_GET
@never_cache
def download_refused(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Download the refused rows of a finished import, with the reason in the first column."""
    user: Any = request.user
    row = ContactImport.objects.filter(pk=pk, author=user, state__in=FINISHED).first()
    if row is None:
        raise Http404
    table = [[_("Row"), _("Reason"), *row.titles]]
    table += [[str(number), sentence, *cells] for number, sentence, cells in row.refused]
    response = StreamingHttpResponse(files.write_csv_lines(table), content_type=CONTENT_TYPES["csv"])
    response["Content-Disposition"] = 'attachment; filename="refused.csv"'
    return response
