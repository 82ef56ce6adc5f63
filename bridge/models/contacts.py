"""Contacts and their former IDs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bridge import phone_visibility
from channels_setup.codecs.phone_numbers import KEY_LENGTH, id_key, phone_key
from channels_setup.codecs.visible_names import is_visible
from channels_setup.models import ApiChannel

from .search import build_contact_query, build_contact_vector, build_name_vector

KEY_FIELDS = {"phone": "phone_key", "external_id": "address_key"}  # field -> derived key field

# What an erased contact must look like.
PERSONAL_FIELDS = (
    *("external_id", "user_id", "caller_id", "username", "phone", "phone_key", "address_key", "name", "email"),
)
NO_PERSONAL_DATA = Q(**dict.fromkeys(PERSONAL_FIELDS, ""), tags=[], card={})


def add_key_fields(fields: Iterable[str]) -> list[str]:
    """Return the fields with the key fields derived from them."""
    fields = list(fields)
    return [*fields, *(key for field, key in KEY_FIELDS.items() if field in fields and key not in fields)]


class ContactQuerySet(models.QuerySet["Contact"]):
    """QuerySet that updates the phone keys in bulk operations."""

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        made = list(objs)
        for contact in made:
            contact.set_keys()
        return super().bulk_create(made, *args, **kwargs)

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        changed = list(objs)
        for contact in changed:
            contact.set_keys()
        return super().bulk_update(changed, add_key_fields(fields), *args, **kwargs)

    def update(self, **values: Any) -> int:
        for field, key, read in (("phone", "phone_key", phone_key), ("external_id", "address_key", id_key)):
            if isinstance(values.get(field), str):
                values[key] = read(values[field])
        return super().update(**values)

    def matching_words(self, query: str) -> ContactQuerySet:
        """Return contacts with these beginnings of words in the name, or with these digits in the phone.

        Where phones are hidden from the user, digits of the phone do not match: trying one digit after another would
        reveal it.
        """
        words = build_contact_query(query)
        if words is None:
            return self.none()
        found = self.annotate(words=build_contact_vector()).filter(words=words)
        hidden = phone_visibility.hidden_channels()
        if not hidden or not any(character.isdigit() for character in query):
            return found
        by_name = Q(name_words=words) & ~Q(name__regex=r"(\d\D*){7}")  # the name may contain the phone
        return found.annotate(name_words=build_name_vector()).filter(~Q(api_channel__in=hidden) | by_name)

    def with_phone(self, keys: Iterable[str]) -> ContactQuerySet:
        """Return contacts whose phone or provider address has one of these keys."""
        keys = [key for key in keys if key]
        return self.filter(Q(phone_key__in=keys) | Q(address_key__in=keys)) if keys else self.none()

    def with_email(self, email: str) -> ContactQuerySet:
        """Return contacts with this email address in any case, by the index."""
        return self.alias(address=Lower("email")).filter(address=email.strip().lower()).exclude(email="")


class Contact(models.Model):
    """A customer on one API channel. The phone may be unknown.

    IDs of different systems are in different fields and are never compared with each other: ``external_id`` and
    ``user_id`` are the provider's, ``caller_id`` belongs to programs that call ``/uapi``, ``pk`` is ours.
    """

    class NameSource(models.TextChoices):
        PROFILE = "profile", _("the client's profile")
        PERSON = "person", _("set by a person")

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="contacts")
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    phone = models.CharField(_("phone"), max_length=32, blank=True)
    name = models.CharField(pgettext_lazy("person", "name"), max_length=200, blank=True)
    email = models.CharField(_("email"), max_length=200, blank=True)
    user_id = models.CharField(_("id with this business"), max_length=160, blank=True)
    created_at = models.DateTimeField(_("first seen"), auto_now_add=True)
    tags = models.JSONField(_("tags"), default=list, blank=True)  # set by operators
    card = models.JSONField(default=dict, blank=True, db_default=Value({}, output_field=models.JSONField()))
    erased_at = models.DateTimeField(_("erased"), null=True)
    # Set by a merge (``bridge.merging``): this contact keeps its IDs, the other one owns the chats.
    merged_into = models.ForeignKey(
        "self",
        verbose_name=_("merged into"),
        null=True,
        on_delete=models.PROTECT,
        related_name="merged",
        db_index=False,
    )
    has_merged = models.BooleanField(db_default=False, default=False)  # other contacts were merged into this one

    username = models.CharField(_("user name"), max_length=100, blank=True, db_default="")  # at the provider
    # A name set by a user is never replaced by a profile name.
    name_source = models.CharField(
        _("source of the name"), max_length=10, choices=NameSource, default=NameSource.PROFILE, db_default="profile"
    )
    # ID in the system of a program that calls /uapi, if it differs from the provider's ID.
    caller_id = models.CharField(_("id in the caller's system"), max_length=190, blank=True, db_default="")
    # create/client returned our ID to a program, which may refer to the client by it.
    number_issued = models.BooleanField(default=False, db_default=False)
    # All spellings of a phone number have the same key. ``save`` and the QuerySet keep both up to date.
    phone_key = models.CharField(max_length=KEY_LENGTH, blank=True, default="", db_default="", editable=False)
    address_key = models.CharField(max_length=KEY_LENGTH, blank=True, default="", db_default="", editable=False)
    # The person now writes as another contact: replies are not sent to this one without asking.
    moved_to = models.ForeignKey(
        "self",
        verbose_name=_("now writes as"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="moved_from",
        db_index=False,  # contacts_moved
    )
    moved_at = models.DateTimeField(_("moved"), null=True, blank=True)

    objects = ContactQuerySet.as_manager()

    class Meta:
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        permissions = [
            ("erase_contact", _("Can erase a person and all their data")),
            ("merge_contact", _("Can merge contacts")),
            ("export_contact", _("Can export all data of a person")),
            ("view_full_phone", _("Can see whole phone numbers where a channel hides them")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "external_id"],
                condition=~Q(external_id=""),
                name="one_contact_per_provider_id",
            ),
            models.UniqueConstraint(
                fields=["api_channel", "user_id"], condition=~Q(user_id=""), name="one_contact_per_user_id"
            ),
            models.UniqueConstraint(
                fields=["api_channel", "caller_id"], condition=~Q(caller_id=""), name="one_contact_per_caller_id"
            ),
            models.CheckConstraint(condition=Q(erased_at=None) | NO_PERSONAL_DATA, name="erased_contact_is_empty"),
        ]
        indexes = [
            models.Index(fields=["api_channel", "phone"], condition=~Q(phone=""), name="contact_by_phone"),
            models.Index(fields=["phone_key", "api_channel"], condition=~Q(phone_key=""), name="contacts_by_phone_key"),
            models.Index(
                fields=["address_key", "api_channel"], condition=~Q(address_key=""), name="contacts_by_address_key"
            ),
            # Lists of contacts by name.
            models.Index(fields=["name", "id"], condition=Q(erased_at=None, merged_into=None), name="contacts_by_name"),
            GinIndex(fields=["tags"], opclasses=["jsonb_path_ops"], condition=~Q(tags=[]), name="contacts_by_tag"),
            models.Index(fields=["moved_to"], condition=Q(moved_to__isnull=False), name="contacts_moved"),
            models.Index(fields=["merged_into"], condition=Q(merged_into__isnull=False), name="contacts_merged"),
            GinIndex(build_contact_vector(), name="contacts_by_text"),
            models.Index(fields=["api_channel", "-id"], condition=~Q(tags=[]), name="contacts_tagged"),
            models.Index(Lower("email"), condition=~Q(email=""), name="contacts_by_email"),
        ]

    def __str__(self) -> str:
        text = self.shown_name or self.phone or self.external_id or self.user_id or f"{self.pk}"
        return phone_visibility.visible_id(text, self.api_channel_id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.set_keys()
        fields = kwargs.get("update_fields")
        if fields is not None:
            kwargs["update_fields"] = add_key_fields(fields)
        super().save(*args, **kwargs)

    def set_keys(self) -> None:
        """Compute the keys from the phone and the provider's ID."""
        self.phone_key, self.address_key = phone_key(self.phone), id_key(self.external_id)

    @property
    def shown_name(self) -> str:
        """Return the name, or "" if it has no visible characters."""
        return self.name if is_visible(self.name) else ""

    @property
    def owner_id(self) -> int:
        """Return the ID of the contact that owns the chats: this one, or the one it was merged into."""
        return self.merged_into_id or self.pk

    @property
    def initials(self) -> str:
        return get_initials(self.name, self.phone)


class FormerId(models.Model):
    """A provider ID that a contact had until a time. Earlier messages from this ID are still theirs."""

    class Kind(models.TextChoices):
        EXTERNAL_ID = "external_id", _("provider's id")
        USER_ID = "user_id", _("id with this business")

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="former_ids")
    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind)
    value = models.CharField(max_length=190)
    until = models.DateTimeField()

    class Meta:
        verbose_name = _("former id")
        verbose_name_plural = _("former ids")
        indexes = [models.Index(fields=["api_channel", "value"], name="former_ids_by_value")]

    def __str__(self) -> str:
        return f"{self.value} ({self.until:%Y-%m-%d %H:%M})"


def get_initials(name: str, phone: str) -> str:
    """Return the letters of a client's avatar."""
    words = [word for word in name.split() if word[0].isalnum() and is_visible(word[0])]
    return "".join(word[0] for word in words[:2]).upper() or phone[-2:] or "·"
