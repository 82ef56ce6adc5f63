"""Admin of templates: their list, the form with a preview, actions, import and export; operators' template tags."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.codecs.values import parse_whole_number
from channels_setup.models import ApiChannel
from templates_registry import history, lifecycle, linting
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Registry, Status, Template, TemplateTags
from templates_registry.provider import provider_sync
from templates_registry.provider.provider_template import MAX_TAG_LENGTH

from . import actions, import_export
from .actions import ACTIONS, TemplateAction
from .forms import TemplateForm

LIST_URL = "admin:templates_registry_template_changelist"
PAGE_URL = "admin:templates_registry_template_change"
MAX_TEMPLATES_PER_ACTION = 1_000


class TemplateStateFilter(admin.SimpleListFilter):
    """Filter by state. Deleted templates are kept for their history and hidden by default."""

    title = _("state")
    parameter_name = "which"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("deleted", _("Deleted")), ("unused", _("Not used for three months")), ("poor", _("With problems"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Template]) -> QuerySet[Template]:
        if self.value() == "deleted":
            return queryset.filter(status=Status.DELETED)
        if self.value() == "unused":
            cutoff = timezone.now() - timedelta(days=91)
            queryset = queryset.filter(Q(last_used_at=None, created_at__lt=cutoff) | Q(last_used_at__lt=cutoff))
        if self.value() == "poor":
            statuses = [Status.REJECTED, Status.PAUSED, Status.DISABLED, Status.UNKNOWN]
            queryset = queryset.filter(Q(status__in=statuses) | Q(quality="RED"))
        return queryset if request.GET.get("status__exact") else queryset.exclude(status=Status.DELETED)


@admin.register(Template)
class TemplateAdmin(HistoryModelAdmin):
    form = TemplateForm
    fields = (
        *("api_channel", "name", "language", "category", "tags"),
        *("header_kind", "header_text", "body", "footer"),
    )
    list_display = (
        "name_and_text",
        "language",
        "status_pill",
        "category",
        "quality",
        "api_channel",
        "last_used_at",
        "use_count",
    )
    list_display_links = ("name_and_text",)
    list_filter = (TemplateStateFilter, "status", "language", "category", "quality", "api_channel")
    list_select_related = ("api_channel",)
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name",)
    search_help_text = _("Part of the name")
    ordering = ("name", "language")
    list_before_template = "templates_registry/list_top.html"
    change_form_template = "templates_registry/template_form.html"
    warn_unsaved_form = True

    class Media:
        css = {"all": ("templates-admin.css",)}
        js = (forms.Script("template-form.js", defer=True),)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # deletion is a status: texts and history are kept

    # --- the list ---

    @admin.display(description=_("name"), ordering="name")
    def name_and_text(self, template: Template) -> SafeString:
        try:
            text = Truncator(template.definition.body).chars(70)
        except InvalidTemplate as problem:
            text = str(problem.sentence)
        if template.unsendable_reason:
            text = str(template.unsendable_reason)
        return format_html('<span class="template-name">{}</span><small class="words">{}</small>', template.name, text)

    @admin.display(description=_("status"), ordering="status")
    def status_pill(self, template: Template) -> SafeString:
        return format_status_pill(template)

    @admin.display(description=_("times used"), ordering="times_used")
    def use_count(self, template: Template) -> int:
        return template.times_used

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        registries = {row.pk: row for row in Registry.objects.all()}
        channels = [channel for channel in ApiChannel.objects.all() if provider_sync.may_sync(channel)]
        extra = {
            "syncs": [(channel, registries.get(channel.pk)) for channel in channels],
            "may_change": self.has_change_permission(request),
            "may_import": self.has_add_permission(request) and self.has_change_permission(request),
        }
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    # --- the form ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if channel := form.base_fields.get("api_channel"):
            for may in ("can_add_related", "can_change_related", "can_view_related", "can_delete_related"):
                setattr(channel.widget, may, False)
            if obj is None:
                channel.queryset = ApiChannel.objects.unarchived()
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        newest = ApiChannel.objects.unarchived().order_by("-pk").values_list("pk", flat=True).first()
        return {"api_channel": newest, "language": "ru", **super().get_changeform_initial_data(request)}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        template = self.get_object(request, object_id)
        extra: dict[str, Any] = {"show_save_and_add_another": False}
        if template is not None and self.has_view_permission(request, template):
            extra |= {
                "template": template,
                "status_pill": format_status_pill(template),
                "history_entries": history.template_history(template),
                "actions": actions.available_actions(template) if self.has_change_permission(request, template) else [],
                "may_test": template.status == Status.APPROVED and self.has_change_permission(request, template),
                "read_only_form": TemplateForm(instance=template),
            }
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: bool) -> None:
        by = ChangeAuthor(source=Source.MANUAL, user=request.user)
        definition, category = form.definition, obj.category
        obj.language, obj.tags = form.cleaned_data["language"], form.cleaned_data["tags"]
        if not change:
            obj.requested_category = category
            obj.set_definition(definition)
            lifecycle.create(obj, by=by)
        else:
            obj.save(update_fields=["api_channel", "name", "language", "tags", "updated_at"])
            obj.refresh_from_db(fields=["category"])
            if lifecycle.change_category(obj, category, by=by):
                Template.objects.filter(pk=obj.pk).update(requested_category=category)
            status_before = obj.status
            if lifecycle.change_text(obj, definition, by=by) and status_before != obj.status:
                messages.warning(request, _("The text has changed, so it has to be approved again."))
        self.warn(request, obj, stays_on_page=not change or "_continue" in request.POST)

    def warn(self, request: HttpRequest, template: Template, *, stays_on_page: bool) -> None:
        """Show the warnings of a saved template, with links to the templates that collide with it."""
        others = Template.objects.active().filter(api_channel=template.api_channel_id).exclude(pk=template.pk)
        rows, links = [], {}
        for other in others:
            try:
                rows.append(other.definition)
            except InvalidTemplate:
                continue
            links[f"{other.name} ({other.language})"] = reverse(PAGE_URL, args=[other.pk])
        own: list[str] = []
        for problem in linting.lint_template(template.definition, others=rows):
            names = [str(problem.details[key]) for key in ("other", "names") if key in problem.details]
            if not names:
                own.append(str(problem.sentence))
                continue
            linked = [
                format_html(' <a class="to" href="{}">{}</a>', links[name], name)
                for name in ", ".join(names).split(", ")
                if name in links
            ]
            messages.warning(request, format_html("{}{}", problem.sentence, SafeString("".join(linked))))
        if own and not stays_on_page:  # the form shows these at its fields
            page = reverse(PAGE_URL, args=[template.pk])
            messages.warning(request, format_html('<a class="to" href="{}">{}</a>: {}', page, template, " ".join(own)))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        if "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, _("Saved as a draft. Send it for approval when it is ready."))
        return redirect(PAGE_URL, obj.pk)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        messages.success(request, _("Saved."))
        return redirect(PAGE_URL, obj.pk) if "_continue" in request.POST else redirect(LIST_URL)

    # --- other pages ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = {
            "preview": self.preview,
            "sync": self.sync,
            "export": lambda request: import_export.export_file(self, request),
            "import": lambda request: import_export.import_page(self, request),
        }
        own = [path(f"{name}/", view(page), name=f"templates_registry_template_{name}") for name, page in pages.items()]
        own.append(path("action/<slug:slug>/", view(self.run_action), name="templates_registry_template_action"))
        return [*own, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Render message, problems and rows of the unsaved form as regions of the page (static/template-form.js)."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        pk = request.GET.get("of", "")
        stored = self.get_object(request, pk) if pk else None
        if not (self.has_change_permission(request, stored) if stored else self.has_add_permission(request)):
            raise PermissionDenied
        form = TemplateForm(request.POST, instance=stored)
        return render(request, "templates_registry/form_regions.html", {"form": form})

    def sync(self, request: HttpRequest) -> HttpResponse:
        """Synchronize the posted channel, or all channels, with the provider's list."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        channels = [channel for channel in ApiChannel.objects.all() if provider_sync.may_sync(channel)]
        channel_id = request.POST.get("channel", "")
        for channel in channels:
            if channel_id and str(channel.pk) != channel_id:
                continue
            result = provider_sync.sync_channel(channel)
            level = messages.ERROR if result.error else messages.SUCCESS
            self.message_user(request, f"{channel}: {result.sentence}", level)
        return redirect(LIST_URL)

    # --- actions ---

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not self.has_change_permission(request):
            return {}
        return {slug: (_list_action(slug), slug, action.label) for slug, action in ACTIONS.items()}

    def run_action(self, request: HttpRequest, slug: str) -> HttpResponse:
        """Run an action that was started on a template's page or confirmed on the intermediate page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if slug not in ACTIONS:
            raise Http404
        if not self.has_change_permission(request):
            raise PermissionDenied
        chosen = request.POST.getlist("template")[:MAX_TEMPLATES_PER_ACTION]
        ids = [number for pk in chosen if (number := parse_whole_number(pk)) is not None]
        rows = self.get_queryset(request).filter(pk__in=ids)
        return self.perform(request, slug, rows) or redirect(_back_url(ids))

    def perform(self, request: HttpRequest, slug: str, rows: QuerySet[Template]) -> HttpResponse | None:
        """Run an action and report the result, or show the intermediate page first.

        ``confirmed`` in the posted data means that the user has confirmed.
        """
        action, templates = ACTIONS[slug], list(rows.select_related("api_channel")[:MAX_TEMPLATES_PER_ACTION])
        reason = request.POST.get("reason", "").strip()[:1000]
        warnings = actions.review_warnings(action, templates)
        if "confirmed" not in request.POST and (action.confirm_text or warnings):
            return self._confirm(request, action, templates, warnings)
        result = actions.perform_action(action, templates, user=request.user, reason=reason)
        for template in result.changed:
            self.log_change(request, template, f"{action.label} {reason}".strip())
        if result.changed:
            self.message_user(request, f"{result.sentence} {_success_text(action, result)}".strip(), messages.SUCCESS)
        for template, remark in result.remarks:
            self.message_user(request, f"{template}: {remark}", messages.WARNING)
        for template, refusal in result.refused:
            self.message_user(request, f"{template}: {refusal}", messages.ERROR)
        return None

    def _confirm(
        self, request: HttpRequest, action: TemplateAction, templates: list[Template], warnings: Any
    ) -> HttpResponse:
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(action.label).rstrip("…"),
            "action": action,
            "templates": templates,
            "warnings": warnings,
            "back": _back_url([template.pk for template in templates]),
            "media": self.media,
        }
        return render(request, "templates_registry/confirm_action.html", page)


def _success_text(action: TemplateAction, result: actions.ActionResult) -> str:
    if not result.sent_to_provider:
        return str(action.success_text)
    return str(_("Submitted to the provider. The result will appear automatically.")) if action.slug == "submit" else ""


def _list_action(slug: str) -> Any:
    def action(model_admin: TemplateAdmin, request: HttpRequest, rows: QuerySet[Template]) -> HttpResponse | None:
        return model_admin.perform(request, slug, rows)

    return action


def _back_url(ids: list[int]) -> str:
    return reverse(PAGE_URL, args=ids) if len(ids) == 1 else reverse(LIST_URL)


def format_status_pill(template: Template) -> SafeString:
    return format_html('<span class="pill t-{}">{}</span>', template.status, template.get_status_display())


class TemplateTagsForm(forms.ModelForm):
    tags = SimpleArrayField(
        forms.CharField(max_length=MAX_TAG_LENGTH),
        label=capfirst(_("tags")),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Separate tags with commas. This operator sees templates that have one of these tags or none."),
    )

    class Meta:
        model = TemplateTags
        fields = ("user", "tags")
        labels = {"user": capfirst(_("operator"))}

    def clean_tags(self) -> list[str]:
        return list(dict.fromkeys(tag for tag in self.cleaned_data["tags"] if tag))


@admin.register(TemplateTags)
class TemplateTagsAdmin(HistoryModelAdmin):
    """Admin of operators' template tags. Operators without a row see all templates of their channels."""

    form = TemplateTagsForm
    list_display = ("operator", "tag_names")
    list_select_related = ("user",)
    search_fields = ("user__username",)

    @admin.display(description=_("operator"), ordering="user__username")
    def operator(self, row: TemplateTags) -> str:
        return str(row.user)

    @admin.display(description=_("tags"))
    def tag_names(self, row: TemplateTags) -> str:
        return str(row)
