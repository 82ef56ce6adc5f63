"""Export of the filtered contacts as CSV or XLSX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge.conversations import consents, contact_fields
from bridge.desk import presentation
from bridge.desk.contacts import files, listing
from bridge.desk.contacts.listing import ContactParams, ContactScope
from bridge.models import ConsentSource, Contact, ContactConsent, ContactField
from channels_setup.permissions import require_chat_access
from config.audit import record
from templates_registry.transfer.file_formats import CONTENT_TYPES, escape_cell
from templates_registry.transfer.workbook_stream import write_xlsx_parts

EXPORT_PERMISSION = "bridge.export_contact"
PAGE = 500


@require_chat_access
@permission_required(EXPORT_PERMISSION, raise_exception=True)
@require_GET
@never_cache
def export_contacts(request: HttpRequest, file_format: str) -> HttpResponseBase:
    """Stream the contacts of the filter. The audit records the export."""
    if file_format not in ("csv", "xlsx"):
        raise Http404
    params = replace(ContactParams.from_request(request.GET), after="")
    table = _build_table(ContactScope.for_user(request.user), params)
    record.record_export("bridge.contact", details={"format": file_format})
    if file_format == "csv":
        parts = files.write_csv_lines(table)
    else:
        rows = ([escape_cell(cell) for cell in row] for row in table)
        parts = write_xlsx_parts(rows, title="contacts", widths={"A": 28, "B": 20, "C": 28})
    response = StreamingHttpResponse(parts, content_type=CONTENT_TYPES[file_format])
    response["Content-Disposition"] = f'attachment; filename="contacts.{file_format}"'
    return response


def _build_table(scope: ContactScope, params: ContactParams) -> Iterator[list[str]]:
    own_fields = contact_fields.list_fields()
    yield [
        pgettext("person", "Name"),
        *(_("Phone"), _("Email"), _("Tags"), _("Channel"), _("Opted out"), _("Consent"), _("Note"), _("First seen")),
        *(field.name for field in own_fields),
    ]
    while True:
        page = listing.list_contacts(scope, params, limit=PAGE)
        yield from _load_page(page.ids, own_fields)
        if not page.next_cursor:
            return
        params = replace(params, after=page.next_cursor)


def _load_page(ids: list[int], own_fields: list[ContactField]) -> Iterator[list[str]]:
    contacts = Contact.objects.select_related("api_channel").in_bulk(ids)
    stored: dict[int, Any] = ContactConsent.objects.in_bulk(ids)
    opt_outs = consents.find_contact_opt_outs(contacts.values(), stored)
    for contact in (contacts[pk] for pk in ids if pk in contacts):
        consent, opt_out = stored.get(contact.pk), opt_outs.get(contact.pk)
        values = contact_fields.read_values(contact)
        yield [
            presentation.contact_name(contact) if contact.name else "",
            presentation.contact_phone(contact),
            contact.email,
            ", ".join(contact.tags),
            contact.api_channel.name,
            str(opt_out.label) if opt_out else "",
            str(ConsentSource(consent.source).label) if consent and consent.source else "",
            consent.note if consent else "",
            timezone.localtime(contact.created_at).strftime("%Y-%m-%d"),
            *(contact_fields.format_value(field, values.get(str(field.pk), "")) for field in own_fields),
        ]
