"""Contacts of ``/api/v1/``: search, update with history, and notes of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Prefetch, Q, QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bridge.conversations import chat_looks, consents, contact_editing, contact_fields, merge_lookup, opt_out_filters
from bridge.conversations.contact_editing import Editor, InvalidContactData
from bridge.models import (
    Contact,
    ContactChange,
    ContactNote,
    Conversation,
    OptOut,
    OptOutSource,
)
from channels_setup.codecs.phone_numbers import search_keys

from .base import (
    IDEMPOTENCY_KEY,
    ReadOnlyViewSet,
    documented,
    documented_write,
    run_idempotent,
    visible_chat_channels,
)
from .contact_erasure import ContactErasureMixin
from .contact_export import ContactExportMixin
from .contact_serializers import (
    ContactChangeSerializer,
    ContactDetailSerializer,
    ContactUpdateSerializer,
    NoteSerializer,
    NoteTextSerializer,
)
from .filtering import SINCE, UNTIL, QueryFilter, parse_choices, parse_number, parse_text
from .serializers import ErrorSerializer

T = TypeVar("T")

MAX_CHANGES = 100
ERROR_RESPONSES = {code: OpenApiResponse(ErrorSerializer) for code in (400, 404, 409)}


def filter_contacts_by_phone(rows: QuerySet[Contact], phone: str, channels: list[int]) -> QuerySet[Contact]:
    """Filter by phone number in any format, including the numbers of merged contacts."""
    known: Any = Contact.objects
    people = merge_lookup.filter_visible_people(known.with_phone(search_keys(phone)), channels)
    found = people.values_list("pk", "merged_into")
    return rows.filter(pk__in={merged_into or pk for pk, merged_into in found})


def filter_contacts_by_email(rows: QuerySet[Contact], email: str) -> QuerySet[Contact]:
    """Filter by email in any case, by the index."""
    return rows.filter(pk__in=Contact.objects.all().with_email(email).values("pk"))


def search_contacts(rows: QuerySet[Contact], query: str, channels: list[int]) -> QuerySet[Contact]:
    """Search by beginnings of words in the name, or by digits of the phone."""
    found = merge_lookup.filter_visible_people(Contact.objects.all().matching_words(query), channels)
    return rows.filter(Q(pk__in=found.values("pk")) | Q(pk__in=found.values("merged_into")))


@documented(list="Contacts", retrieve="One contact")
class ContactViewSet(ContactErasureMixin, ContactExportMixin, ReadOnlyViewSet):
    writes_to_erased = ("erase",)
    queryset = Contact.objects.all()
    serializer_class = ContactDetailSerializer
    filters = {
        "api_channel": QueryFilter(read=parse_number, by="api_channel"),
        "phone": QueryFilter(read=parse_text, by_channels=filter_contacts_by_phone, help="In any format."),
        "search": QueryFilter(
            read=parse_text, by_channels=search_contacts, help="Words of the name or digits of the phone."
        ),
        "email": QueryFilter(read=parse_text, by=filter_contacts_by_email),
        "opt_out": QueryFilter(read=parse_choices("marketing", "all"), by_channels=opt_out_filters.filter_opted_out),
        "external_id": QueryFilter(read=parse_text, by="external_id", help="The provider's ID of the contact."),
        "since": SINCE,
        "until": UNTIL,
    }

    def get_queryset(self) -> QuerySet[Contact]:
        seen = visible_chat_channels(self.request.user)
        chats = Conversation.objects.filter(chat_channel__in=seen)
        rows = Contact.objects.filter(pk__in=chats.values("contact")).select_related("consent")
        shown = Prefetch("conversations", chats.order_by("pk"), to_attr="shown_chats")
        merged = merge_lookup.filter_visible_people(Contact.objects.select_related("consent").order_by("pk"), seen)
        return rows.prefetch_related(shown, Prefetch("merged", merged, to_attr="shown_merged"))

    def get_object(self) -> Contact:
        """Return the contact. For a merged contact, return the contact that it was merged into."""
        named = Contact.objects.filter(pk=int(self.kwargs["pk"][:18]), merged_into__isnull=False)
        merged = merge_lookup.filter_visible_people(named, visible_chat_channels(self.request.user)).first()
        if merged is not None:
            self.kwargs["pk"] = str(merged.owner_id)
        found: Contact = super().get_object()
        chats: Any = found.shown_chats  # type: ignore[attr-defined]  # prefetched
        chat_looks.record_chat_looks(self.request.user, [(chat.pk, chat.assignee_id) for chat in chats])
        return found

    def _list_people(self, contact: Contact) -> list[int]:
        """Return the IDs of the contact and of the merged contacts that the user may know."""
        people = merge_lookup.list_people(contact, visible_in=visible_chat_channels(self.request.user))
        return [person.pk for person in people]

    @documented_write(summary="Change a contact", request=ContactUpdateSerializer, response=ContactDetailSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change name, phone, email and additional fields. Every change is recorded. The phone is normalized. Messages
        are still sent to the provider's ID of the contact. A name set here is not replaced by the WhatsApp profile
        name. opt_out blocks templates, or allows them again if it is empty; consent_source says how the person agreed
        to them."""
        contact = self.get_object()
        serializer = ContactUpdateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        card = {name: values[name] for name in contact_editing.EDITABLE_FIELDS if name in values}

        def work() -> tuple[int, Any]:
            _run_edit(lambda: contact_editing.edit_contact(contact.pk, card, by=_api_editor(request)))
            own = values.get("custom_fields", {})
            _run_edit(lambda: contact_fields.edit_fields(contact.pk, own, by=_api_editor(request)))
            if "consent_source" in values:
                note = values.get("consent_note", "")
                consents.record_consent(contact.pk, values["consent_source"], note=note, by=request.user)
            if "opt_out" in values:
                reason, opt_out = values.get("opt_out_reason", ""), OptOut(values["opt_out"])
                consents.set_opt_out(contact.pk, opt_out, source=OptOutSource.API, by=request.user, reason=reason)
            return 200, ContactDetailSerializer(self.get_queryset().get(pk=contact.pk)).data

        return run_idempotent(request, values, work)

    @extend_schema(
        summary="Changes of a contact",
        description="The last 100 changes, newest first: field, old and new value, author and time.",
        responses=ContactChangeSerializer(many=True),
    )
    @action(detail=True, methods=["get"], filter_backends=[], pagination_class=None)
    def changes(self, request: Request, pk: str) -> Response:
        people = self._list_people(self.get_object())
        rows = ContactChange.objects.filter(contact__in=people).select_related("contact").order_by("-pk")[:MAX_CHANGES]
        return Response(ContactChangeSerializer(rows, many=True).data)

    @extend_schema(
        methods=["get"],
        summary="Notes on a contact",
        description="Internal notes of operators. They are never sent to the client.",
        responses=NoteSerializer(many=True),
    )
    @extend_schema(
        methods=["post"],
        summary="Add a note to a contact",
        description="Internal note for operators. It is never sent to the client.",
        request=NoteTextSerializer,
        responses={201: NoteSerializer, **ERROR_RESPONSES},
        parameters=[IDEMPOTENCY_KEY],
    )
    @action(detail=True, methods=["get", "post"], filter_backends=[], pagination_class=None)
    def notes(self, request: Request, pk: str) -> Response:
        contact = self.get_object()
        if request.method == "GET":
            rows = ContactNote.objects.filter(contact__in=self._list_people(contact))
            return Response(NoteSerializer(rows.order_by("-pk"), many=True).data)
        text = _read_note_text(request)

        def work() -> tuple[int, Any]:
            valid_text = _run_edit(lambda: contact_editing.validate_note_text(text))
            user: Any = request.user
            note = ContactNote.objects.create(contact=contact, author=user, text=valid_text)
            return 201, NoteSerializer(note).data

        return run_idempotent(request, text, work)

    @documented_write(summary="Change a note", request=NoteTextSerializer, response=NoteSerializer)
    @action(detail=True, methods=["patch"], url_path=r"notes/(?P<note_id>[0-9]{1,18})")
    def note(self, request: Request, pk: str, note_id: str) -> Response:
        """Change your own note. The previous text is kept in the changes of the contact."""
        people = self._list_people(self.get_object())
        if not ContactNote.objects.filter(pk=note_id, contact__in=people).exists():
            raise NotFound
        text = _read_note_text(request)

        def work() -> tuple[int, Any]:
            note = _run_edit(
                lambda: contact_editing.edit_note(int(note_id), text, contact_ids=people, by=_api_editor(request))
            )
            return 200, NoteSerializer(note).data

        return run_idempotent(request, text, work)


def _api_editor(request: Request) -> Editor:
    return Editor(source=ContactChange.Source.API, user=request.user)


def _read_note_text(request: Request) -> str:
    serializer = NoteTextSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    return str(serializer.validated_data["text"])


def _run_edit(edit: Callable[[], T]) -> T:
    """Run an edit and return its result. Invalid data becomes a ValidationError by field."""
    try:
        return edit()
    except InvalidContactData as problem:
        raise ValidationError({name or "contact": [sentence] for name, sentence in problem.fields.items()}) from None
