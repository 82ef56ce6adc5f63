"""Serializers of contacts in ``/api/v1/``."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from bridge.conversations import consents, contact_fields
from bridge.models import ConsentSource, Contact, ContactChange, ContactConsent, ContactField, ContactNote, OptOut

from .serializers import hide_phone


class ConsentSerializer(serializers.ModelSerializer[ContactConsent]):
    """Opt-out and consent of a contact. ``opt_out``: empty, ``marketing``, or ``all`` (templates are not sent)."""

    class Meta:
        model = ContactConsent
        fields = (
            *("opt_out", "opt_out_source", "opt_out_reason", "opt_out_at", "opt_out_by"),
            *("source", "note", "recorded_at", "recorded_by"),
        )
        read_only_fields = fields


class CustomFieldSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    value = serializers.CharField(help_text=_("Empty if it is not set. A checked box is 1."))


class ContactDetailSerializer(serializers.ModelSerializer[Contact]):
    """A contact with its chats. ``merged`` lists the contacts that were merged into it."""

    chats = serializers.SerializerMethodField()
    merged = serializers.SerializerMethodField()
    consent = serializers.SerializerMethodField()
    custom_fields = serializers.SerializerMethodField(help_text=_("All additional fields, empty ones too."))

    class Meta:
        model = Contact
        fields: tuple[str, ...] = (
            *("id", "api_channel", "name", "name_source", "phone", "email", "external_id", "user_id", "username"),
            *("tags", "chats", "merged", "consent", "custom_fields", "created_at", "erased_at"),
        )
        read_only_fields: tuple[str, ...] = fields

    def get_chats(self, contact: Contact) -> list[int]:
        return [chat.pk for chat in contact.shown_chats]  # type: ignore[attr-defined]  # prefetched by the view

    def get_merged(self, contact: Contact) -> list[dict[str, Any]]:
        names = ("id", "name", "phone", "external_id", "user_id")
        people = contact.shown_merged  # type: ignore[attr-defined]  # prefetched by the view
        rows = ({name: getattr(one, name) for name in names} for one in people)
        return [hide_phone(row, contact.api_channel_id) for row in rows]

    @extend_schema_field(ConsentSerializer(allow_null=True))
    def get_consent(self, contact: Contact) -> dict[str, Any] | None:
        rows = [row for one in (contact, *contact.shown_merged) if (row := getattr(one, "consent", None))]  # type: ignore[attr-defined]
        row = consents.choose_strictest(rows, contact.pk)
        return None if row is None else ConsentSerializer(row).data

    @extend_schema_field(CustomFieldSerializer(many=True))
    def get_custom_fields(self, contact: Contact) -> list[dict[str, Any]]:
        values = contact_fields.read_values(contact)
        return [
            {"id": field.pk, "name": field.name, "value": values.get(str(field.pk), "")} for field in self._own_fields
        ]

    @property
    def _own_fields(self) -> list[ContactField]:
        """Return the definitions, loaded once for all rows of a response."""
        loaded = vars(self.root)
        if "loaded_fields" not in loaded:
            loaded["loaded_fields"] = contact_fields.list_fields()
        return list(loaded["loaded_fields"])

    def to_representation(self, contact: Contact) -> dict[str, Any]:
        return hide_phone(super().to_representation(contact), contact.api_channel_id)


class ContactUpdateSerializer(serializers.Serializer[Any]):
    """New values. Omitted fields keep their values; an empty text clears the field."""

    name = serializers.CharField(required=False, allow_blank=True, max_length=1_000)
    phone = serializers.CharField(required=False, allow_blank=True, max_length=100)
    email = serializers.CharField(required=False, allow_blank=True, max_length=1_000)
    opt_out = serializers.ChoiceField(OptOut.choices, required=False, allow_blank=True)
    opt_out_reason = serializers.CharField(required=False, allow_blank=True, max_length=200)
    consent_source = serializers.ChoiceField(ConsentSource.choices, required=False)
    consent_note = serializers.CharField(required=False, allow_blank=True, max_length=200)
    custom_fields = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=1_000),
        required=False,
        help_text=_("Values of additional fields by field ID."),
    )

    def validate_custom_fields(self, values: dict[str, str]) -> dict[int, str]:
        known = {field.pk for field in contact_fields.list_fields()}
        found = {int(key): value for key, value in values.items() if key.isdecimal() and len(key) < 19}
        if len(found) < len(values) or not found.keys() <= known:
            raise ValidationError(gettext("There is no additional field with this ID."))
        return found


class ContactChangeSerializer(serializers.ModelSerializer[ContactChange]):
    """One change of a contact. ``by`` is the user, or null if a program of the API channel made the change."""

    def to_representation(self, change: ContactChange) -> dict[str, Any]:
        return super().to_representation(change) | dict(zip(("old", "new"), change.visible_values, strict=True))

    class Meta:
        model = ContactChange
        fields = ("id", "field", "old", "new", "note", "by", "api_channel", "source", "at")
        read_only_fields = fields


class NoteTextSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=10_000)


class NoteSerializer(serializers.ModelSerializer[ContactNote]):
    class Meta:
        model = ContactNote
        fields = ("id", "text", "author", "created_at", "edited_at")
        read_only_fields = fields
