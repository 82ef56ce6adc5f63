"""Who writes: one contact at one API channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q, Value
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.codecs.phone_numbers import KEY_LENGTH, id_key, phone_key
from channels_setup.codecs.visible_names import is_visible
from channels_setup.models import ApiChannel

from .search import contact_words

KEYS = {"phone": "phone_key", "external_id": "address_key"}  # field → the key that follows from it


def with_keys(fields: Iterable[str]) -> list[str]:
    """Add the key fields that change together with these fields."""
    fields = list(fields)
    return [*fields, *(key for field, key in KEYS.items() if field in fields and key not in fields)]


class ContactQuerySet(models.QuerySet["Contact"]):
    """Keeps the phone keys up to date where rows are written in bulk."""

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        made = list(objs)
        for contact in made:
            contact.set_keys()
        return super().bulk_create(made, *args, **kwargs)

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        changed = list(objs)
        for contact in changed:
            contact.set_keys()
        return super().bulk_update(changed, with_keys(fields), *args, **kwargs)

    def update(self, **values: Any) -> int:
        for field, key, read in (("phone", "phone_key", phone_key), ("external_id", "address_key", id_key)):
            if isinstance(values.get(field), str):
                values[key] = read(values[field])
        return super().update(**values)

    def with_phone(self, keys: Iterable[str]) -> ContactQuerySet:
        """Those whose phone, or whose address at the provider, is one of these numbers."""
        keys = [key for key in keys if key]
        return self.filter(Q(phone_key__in=keys) | Q(address_key__in=keys)) if keys else self.none()


class Contact(models.Model):
    """A customer, as one API channel knows them. A phone may be absent.

    IDs of different systems stand in different fields and are never compared with each other: ``external_id`` and
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
    tags = models.JSONField(_("tags"), default=list, blank=True)  # words that operators put on this person
    card = models.JSONField(default=dict, blank=True, db_default=Value({}, output_field=models.JSONField()))
    erased_at = models.DateTimeField(_("erased"), null=True)
    # Merged by a person (``bridge.merging``): this contact keeps its ids and leads to the other, which has the chats.
    merged_into = models.ForeignKey(
        "self",
        verbose_name=_("merged into"),
        null=True,
        on_delete=models.PROTECT,
        related_name="merged",
        db_index=False,
    )
    has_merged = models.BooleanField(db_default=False, default=False)  # other contacts lead to this one

    username = models.CharField(_("user name"), max_length=100, blank=True, db_default="")  # at the provider
    # A name that a person set is never replaced by a profile name.
    name_source = models.CharField(
        _("source of the name"), max_length=10, choices=NameSource, default=NameSource.PROFILE, db_default="profile"
    )
    # The id in the system of a program that calls /uapi, where that is not how the provider reaches the contact.
    caller_id = models.CharField(_("id in the caller's system"), max_length=190, blank=True, db_default="")
    # create/client gave our number to a program, which may name the client by it.
    number_issued = models.BooleanField(default=False, db_default=False)
    # All spellings of one phone number have one key; ``save`` and ``QuerySet.bulk_create`` keep both up to date.
    phone_key = models.CharField(max_length=KEY_LENGTH, blank=True, default="", db_default="", editable=False)
    address_key = models.CharField(max_length=KEY_LENGTH, blank=True, default="", db_default="", editable=False)
    # The same person writes under another contact since then: nothing is sent to this one unasked.
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
            ("erase_contact", _("Can erase a person and all that is known of them")),
            ("merge_contact", _("Can merge contacts")),
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
        ]
        indexes = [
            models.Index(fields=["api_channel", "phone"], condition=~Q(phone=""), name="contact_by_phone"),
            models.Index(fields=["phone_key", "api_channel"], condition=~Q(phone_key=""), name="contacts_by_phone_key"),
            models.Index(
                fields=["address_key", "api_channel"], condition=~Q(address_key=""), name="contacts_by_address_key"
            ),
            models.Index(fields=["moved_to"], condition=Q(moved_to__isnull=False), name="contacts_moved"),
            models.Index(fields=["merged_into"], condition=Q(merged_into__isnull=False), name="contacts_merged"),
            GinIndex(contact_words(), name="contacts_by_words"),
        ]

    def __str__(self) -> str:
        return self.shown_name or self.phone or self.external_id or self.user_id or f"{self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.set_keys()
        fields = kwargs.get("update_fields")
        if fields is not None:
            kwargs["update_fields"] = with_keys(fields)
        super().save(*args, **kwargs)

    def set_keys(self) -> None:
        """Bring the keys in line with the phone and the provider's id."""
        self.phone_key, self.address_key = phone_key(self.phone), id_key(self.external_id)

    @property
    def shown_name(self) -> str:
        """The name, unless it would leave the screen empty."""
        return self.name if is_visible(self.name) else ""

    @property
    def owner_id(self) -> int:
        """The contact that has the chats: this one, or the one it was merged into."""
        return self.merged_into_id or self.pk

    @property
    def initials(self) -> str:
        return letters(self.name, self.phone)


class FormerId(models.Model):
    """An id at the provider that a contact had until a time. What was written before that time is still theirs."""

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


def letters(name: str, phone: str) -> str:
    """What stands in a client's round picture."""
    words = [word for word in name.split() if word[0].isalnum() and is_visible(word[0])]
    return "".join(word[0] for word in words[:2]).upper() or phone[-2:] or "·"
