"""Page of the quick replies and macros of an operator. Shared ones are listed, and edited by admins."""

from __future__ import annotations

from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from bridge.automation import macros
from bridge.desk import forms, reply_forms
from bridge.models import CannedResponse, Macro
from channels_setup.models import ChatChannel
from channels_setup.permissions import require_chat_access

QUICK_REPLY, MACRO = "quick-reply", "macro"
MODELS: dict[str, Any] = {QUICK_REPLY: CannedResponse, MACRO: Macro}
TITLES = {
    QUICK_REPLY: (gettext_lazy("New quick reply"), gettext_lazy("Quick reply")),
    MACRO: (gettext_lazy("New macro"), gettext_lazy("Macro")),
}
MAX_OWN = 200  # of each kind


@require_chat_access
@require_GET
@never_cache
def show_own_replies(request: HttpRequest) -> HttpResponse:
    """List the user's quick replies and macros, and the shared ones of their channels."""
    channels = ChatChannel.objects.all().visible_to(request.user)
    lists = []
    for kind, model in MODELS.items():
        used = model.objects.filter(is_used=True)
        shared = used.filter(owner=None, chat_channels=None) | used.filter(owner=None, chat_channels__in=channels)
        order = ("folder", "name", "pk") if kind == QUICK_REPLY else ("name", "pk")
        lists.append(
            {
                "kind": kind,
                "own": [_describe(row) for row in model.objects.filter(owner=request.user.pk).order_by(*order)],
                "shared": [_describe(row) for row in shared.distinct().order_by(*order)[:MAX_OWN]],
            }
        )
    return render(request, "bridge/own_replies.html", {"lists": lists})


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def edit_own_reply(request: HttpRequest, reply_kind: str, pk: int | None = None) -> HttpResponse:
    """Add, change or delete a quick reply or macro of the user."""
    kind = reply_kind
    if kind not in MODELS:
        raise Http404
    if refusal := forms.reject_stale_form(request):
        return refusal
    model = MODELS[kind]
    row = model(owner_id=request.user.pk)
    if pk is not None and (row := model.objects.filter(pk=pk, owner=request.user.pk).first()) is None:
        raise Http404
    if request.method == "POST" and "delete" in request.POST and pk is not None:
        row.delete()
        messages.success(request, _("Deleted."))
        return redirect("own-replies")
    form = _build_form(request, kind, row)
    if form.is_bound and pk is None and model.objects.filter(owner=request.user.pk).count() >= MAX_OWN:
        form.add_error(None, _("You have reached the limit of %(most)d. Delete one first.") % {"most": MAX_OWN})
    if form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("own-replies")
    context = {"form": form, "kind": kind, "pk": pk, "title": TITLES[kind][pk is not None]}
    return render(request, "bridge/own_reply.html", context)


def _build_form(request: HttpRequest, kind: str, row: Any) -> django_forms.ModelForm:
    data = request.POST if request.method == "POST" else None
    if kind == MACRO:
        return reply_forms.OwnMacroForm(data, instance=row, user=request.user)
    return reply_forms.OwnCannedResponseForm(data, instance=row)


def _describe(row: Any) -> dict[str, Any]:
    if isinstance(row, Macro):
        return {"row": row, "lines": macros.describe_actions(row, None)}
    return {"row": row, "lines": [row.text]}
