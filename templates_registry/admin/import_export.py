"""Export and import of templates in the admin. An import is shown with its differences before anything is written.

The server keeps no state between the two steps: the page carries the signed rows, and the plan is built again from
them. If the new plan differs from the one that was shown, it is shown again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from channels_setup.codecs.values import parse_whole_number
from channels_setup.models import ApiChannel
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Template
from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import file_formats, import_plan
from templates_registry.transfer.file_formats import FileRow
from templates_registry.transfer.import_plan import ChangeKind, ImportPlan

if TYPE_CHECKING:
    from .templates import TemplateAdmin

SALT = "templates_registry.import"
CONFIRM_SECONDS = 12 * 3600  # how long a plan can be confirmed
MAX_SIGNED_BYTES = 3 * 1024 * 1024  # below the 4 MB that a form may have
MAX_UPLOAD_BYTES, MAX_UPLOAD_ROWS = 4 * 1024 * 1024, 1_000  # limits of an upload, which occupies a web worker
MAX_SHOWN_ITEMS = 200  # per kind of change


class ImportFileForm(forms.Form):
    """Upload of a file, and the channel that receives its templates."""

    api_channel = forms.ModelChoiceField(
        label=capfirst(gettext_lazy("API channel")),
        queryset=ApiChannel.objects.unarchived(),
        widget=UnfoldAdminSelectWidget,
        required=False,
        empty_label=capfirst(gettext_lazy("as specified in the file")),
    )
    file = forms.FileField(
        label=capfirst(gettext_lazy("file")),
        widget=UnfoldAdminFileFieldWidget,
        help_text=gettext_lazy("JSON in the Graph API format, or CSV or XLSX in the format of the export."),
    )


def export_file(admin: TemplateAdmin, request: HttpRequest) -> HttpResponse:
    if not admin.has_view_permission(request):
        raise PermissionDenied
    file_format = request.GET.get("form", "json")
    file_format = file_format if file_format in file_formats.CONTENT_TYPES else "json"
    rows = Template.objects.exclude(status="deleted").select_related("api_channel")
    if (channel := parse_whole_number(request.GET.get("channel"))) is not None:
        rows = rows.filter(api_channel=channel)
    data = file_formats.export_templates(rows.order_by("api_channel_id", "name", "language"), file_format=file_format)
    name = f"templates-{timezone.localdate():%Y-%m-%d}.{file_format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return HttpResponse(data, content_type=file_formats.CONTENT_TYPES[file_format], headers=headers)


def import_page(admin: TemplateAdmin, request: HttpRequest) -> HttpResponse:
    if not (admin.has_add_permission(request) and admin.has_change_permission(request)):
        raise PermissionDenied
    if request.method == "POST" and "rows" in request.POST:
        return _apply_confirmed(admin, request)
    form = ImportFileForm(
        request.POST or None, request.FILES or None, initial={"api_channel": import_plan.single_channel()}
    )
    if request.method == "POST" and form.is_valid():
        channel = form.cleaned_data["api_channel"]
        try:
            rows = _read_upload(form.cleaned_data["file"].read(MAX_UPLOAD_BYTES + 1))
            return _show_plan(admin, request, rows, channel)
        except InvalidTemplateData as problem:
            form.add_error("file", str(problem.sentence))
    return _render_page(admin, request, form=form)


def _read_upload(data: bytes) -> list[FileRow]:
    if len(data) > MAX_UPLOAD_BYTES:
        raise _file_too_large()
    return file_formats.read_file(data, max_rows=MAX_UPLOAD_ROWS)


def _file_too_large() -> InvalidTemplateData:
    return InvalidTemplateData(
        _("The file is too large to import in the browser. Use the command line: manage.py templates import.")
    )


def _show_plan(
    admin: TemplateAdmin, request: HttpRequest, rows: list[FileRow], channel: ApiChannel | None
) -> HttpResponse:
    plan = import_plan.build_plan(rows, api_channel=channel)
    signed_rows = signing.dumps(
        {
            "by": request.user.pk,
            "channel": channel.pk if channel else None,
            "rows": [[row.number, row.data, row.cells, row.problem] for row in rows],
            "plan": plan.fingerprint,
        },
        salt=SALT,
        compress=True,
    )
    if len(signed_rows) > MAX_SIGNED_BYTES:
        raise _file_too_large()
    return _render_page(admin, request, plan=plan, channel=channel, signed_rows=signed_rows)


def _apply_confirmed(admin: TemplateAdmin, request: HttpRequest) -> HttpResponse:
    try:
        signed: dict[str, Any] = signing.loads(request.POST["rows"], salt=SALT, max_age=CONFIRM_SECONDS)
    except signing.BadSignature:
        messages.error(request, _("This page has expired. Choose the file again."))
        return redirect("admin:templates_registry_template_import")
    if signed["by"] != request.user.pk:
        raise PermissionDenied
    rows = [FileRow(*row) for row in signed["rows"]]
    channel = ApiChannel.objects.filter(pk=signed["channel"]).first() if signed["channel"] else None
    plan = import_plan.build_plan(rows, api_channel=channel)
    if plan.fingerprint != signed["plan"]:
        messages.warning(request, _("The templates have changed since the preview. Review the changes again."))
        return _show_plan(admin, request, rows, channel)
    done = import_plan.apply_plan(plan, by=ChangeAuthor(source=Source.IMPORT, user=request.user))
    messages.success(request, _("Imported: %(new)s new, %(changed)s changed.") % done.counts)
    if done.counts["refused"]:
        messages.warning(request, _("Refused and skipped: %(refused)s.") % done.counts)
    return redirect("admin:templates_registry_template_changelist")


def _render_page(
    admin: TemplateAdmin, request: HttpRequest, plan: ImportPlan | None = None, **more: Any
) -> HttpResponse:
    groups = []
    for kind in (ChangeKind.REFUSED, ChangeKind.CHANGED, ChangeKind.NEW, ChangeKind.SAME) if plan else ():
        items = [item for item in plan.items if item.kind == kind] if plan else []
        if items:
            groups.append(
                {
                    "kind": kind,
                    "count": len(items),
                    "items": items[:MAX_SHOWN_ITEMS],
                    "more": len(items) - MAX_SHOWN_ITEMS,
                }
            )
    page = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": _("Import templates"),
        "plan": plan,
        "groups": groups,
        "back": reverse("admin:templates_registry_template_changelist"),
        "media": admin.media,
        **more,
    }
    return render(request, "templates_registry/import.html", page)
