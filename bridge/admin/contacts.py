"""Admin list of contacts, with the export of their data, and the search by contact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from bridge.files import storage_limits
from bridge.maintenance import person_export
from bridge.merging import rules as merge_rules
from bridge.models import Contact, Conversation

from .base import (
    ReadOnlyAdmin,
    field_column,
    render_chat_link,
    search_by_id,
    search_by_phone,
    search_by_text,
)


@admin.register(Contact)
class ContactAdmin(ReadOnlyAdmin):
    list_display = ("id", "name_shown", "phone", "external_id", "channel", "first_seen")
    list_display_links = ("id", "name_shown")
    list_select_related = ("api_channel",)
    list_filter = ("api_channel",)
    searches = (
        search_by_id(),
        search_by_text("phone"),
        search_by_text("external_id"),
        search_by_text("user_id"),
        search_by_phone(),
    )
    search_help_text = _("Full phone number, provider ID or contact number")
    fields = readonly_fields = (
        *("name_shown", "name_source", "phone", "email", "external_id", "user_id", "username", "caller_id"),
        *("channel", "first_seen", "moved_to", "merged_into", "chat_links"),
    )

    name_shown = field_column("shown_name", pgettext_lazy("person", "name"))
    channel = field_column("api_channel", _("API channel"))
    first_seen = field_column("created_at", _("first seen"))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(merge_rules.MERGE_PERMISSION):
            return {}
        return {
            "merge_selected": (type(self).merge_selected, "merge_selected", gettext("Merge the two selected contacts…"))
        }

    def merge_selected(self, request: HttpRequest, rows: QuerySet[Contact]) -> HttpResponse | None:
        """List action: redirect to the merge preview in the desk."""
        contacts = list(rows.order_by("pk")[:3])
        chat = Conversation.objects.filter(contact=contacts[0]).order_by("pk").first() if len(contacts) == 2 else None
        if chat is None:
            sentence = gettext("Select two contacts. Each must have a chat.")
            self.message_user(request, sentence, messages.ERROR)
            return None
        return redirect(f"{reverse('chat-client-merge', args=[chat.pk])}?with={contacts[1].pk}")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_person)
        return [path("<int:pk>/export/", view, name="bridge_contact_export"), *super().get_urls()]

    def _list_buttons(self, request: HttpRequest, row: Any) -> Iterator[dict[str, Any]]:
        yield from super()._list_buttons(request, row)
        if request.user.has_perm(person_export.EXPORT_PERMISSION) and row.erased_at is None:
            yield {"label": gettext("Export client data"), "url": reverse("admin:bridge_contact_export", args=[row.pk])}

    def export_person(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Button on a contact's page: download all data of the person."""
        contact = self.get_object(request, str(pk))
        if contact is None:
            raise Http404
        if not request.user.has_perm(person_export.EXPORT_PERMISSION):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            return person_export.build_download(contact, user=request.user)
        except person_export.PersonErased:
            self.message_user(request, gettext("This person has been erased."), messages.ERROR)
        except (storage_limits.DiskAlmostFull, person_export.FilesUnavailable) as problem:
            self.message_user(request, str(problem), messages.ERROR)
        return redirect(reverse("admin:bridge_contact_change", args=[pk]))

    def visible_to(self, rows: QuerySet[Contact], user: Any) -> QuerySet[Contact]:
        return rows.filter(pk__in=Conversation.objects.all().visible_to(user).values("contact"))

    @admin.display(description=_("chats"))
    def chat_links(self, contact: Contact) -> SafeString:
        return format_html_join(", ", "{}", ((render_chat_link(chat),) for chat in contact.conversations.all()[:20]))


def search_by_contact(term: str) -> Q:
    """Search by a client's whole phone number or provider ID.

    The contacts are looked up first, because an OR across a join cannot use an index.
    """
    contacts = Contact.objects.filter(
        search_by_text("phone")(term) | search_by_text("external_id")(term) | search_by_phone()(term)
    )
    return Q(contact__in=list(contacts.order_by().values_list("pk", flat=True)[:100]))
