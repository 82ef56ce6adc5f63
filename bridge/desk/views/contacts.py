"""Contacts page: search, filters, and export."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge import service_window
from bridge.desk.contacts import listing, rows
from bridge.desk.contacts.imports import IMPORT_PERMISSION
from bridge.desk.contacts.listing import ContactParams, ContactScope
from bridge.models import ConsentSource, Contact
from bridge.relay import chat_starts
from channels_setup.models import ApiChannel
from channels_setup.permissions import require_chat_access

from .contact_export import EXPORT_PERMISSION


@require_chat_access
@require_GET
@never_cache
def show_contacts(request: HttpRequest) -> HttpResponse:
    params, scope = ContactParams.from_request(request.GET), ContactScope.for_user(request.user)
    page = listing.list_contacts(scope, params)
    problems = {row.api_channel.pk: row.problem for row in chat_starts.list_start_channels(request.user)}
    now = service_window.database_now()
    context = {
        "section": "contacts",
        "params": params,
        "rows": rows.load_rows(page.ids, scope=scope, start_problems=problems, now=now),
        "page": page,
        "newest_contact": Contact.objects.order_by("-pk").values_list("pk", flat=True).first() or 0,
        "next_page": "?" + urlencode(params.non_default | {"after": page.next_cursor}) if page.next_cursor else "",
        "filter_fields": _filter_fields(params, scope),
        "may_export": request.user.has_perm(EXPORT_PERMISSION),
        "may_import": request.user.has_perm(IMPORT_PERMISSION),
    }
    return render(request, "bridge/contacts.html", context)


def _filter_fields(params: ContactParams, scope: ContactScope) -> list[dict[str, Any]]:
    visible = ApiChannel.objects.unarchived()
    if not scope.sees_everything:  # the names of other departments' channels are not theirs to read
        visible = visible.filter(watched__in=scope.chat_channels).distinct()
    channels = [(str(row.pk), row.name) for row in visible]
    consents = [(value, str(label).capitalize()) for value, label in ConsentSource.choices]
    return [
        {
            "name": "channel",
            "title": _("Channel"),
            "value": str(params.channel or ""),
            "options": [("", _("All channels")), *channels],
        },
        {
            "name": "opt_out",
            "title": _("Opt-outs"),
            "value": params.opt_out,
            "options": [
                ("", _("Opt-out: any")),
                ("any", _("Opted out")),
                ("all", _("Opted out of all templates")),
                ("marketing", _("Opted out of marketing")),
                ("none", _("Not opted out")),
            ],
        },
        {
            "name": "consent",
            "title": _("Consent"),
            "value": params.consent,
            "options": [
                ("", _("Consent: any")),
                ("recorded", _("Consent recorded")),
                ("missing", _("No consent recorded")),
                *consents,
            ],
        },
        {
            "name": "sort",
            "title": _("Order"),
            "value": params.sort,
            "options": [("newest", _("Newest first")), ("oldest", _("Oldest first")), ("name", _("By name"))],
        },
    ]
