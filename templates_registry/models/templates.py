"""The template model: a text of one account in one language, with its status at the provider.

A row stores the components as the Graph API lists them. ``definition`` parses them for the pure packages ``content``
and ``matching``, which know the rules, render messages and recognize pasted text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from channels_setup import permissions
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.models.redacted_fields import RedactedTextField
from channels_setup.providers import messengers

from ..content import graph_format, sendability
from ..content.components import Problem, TemplateDefinition, Variable, merge_descriptions
from .tags import TemplateTags

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Status(models.TextChoices):
    """Statuses of Meta's template API, and DRAFT: written here and not yet submitted."""

    DRAFT = "draft", _("draft")
    PENDING = "pending", _("waiting for approval")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    PAUSED = "paused", _("paused")
    DISABLED = "disabled", _("disabled")
    IN_APPEAL = "in_appeal", _("in appeal")
    ARCHIVED = "archived", _("archived")
    PENDING_DELETION = "pending_deletion", _("being deleted")
    LIMIT_EXCEEDED = "limit_exceeded", _("over the provider's limit")
    DELETED = "deleted", _("deleted")
    UNKNOWN = "unknown", _("unknown")


class Category(models.TextChoices):
    UTILITY = "UTILITY", _("utility")
    MARKETING = "MARKETING", _("marketing")
    AUTHENTICATION = "AUTHENTICATION", _("authentication")


class Quality(models.TextChoices):
    UNKNOWN = "UNKNOWN", _("not rated")
    GREEN = "GREEN", _("good")
    YELLOW = "YELLOW", _("medium")
    RED = "RED", _("poor")


class TemplateQuerySet(models.QuerySet["Template"]):
    def sendable(self) -> TemplateQuerySet:
        """Return approved templates that Okno can fill. Only these are offered and sent."""
        return self.filter(status=Status.APPROVED).fillable()

    def fillable(self) -> TemplateQuerySet:
        """Return templates that Okno can fill. Providers that accept the text alone need no other part."""
        kinds = [kind for kind, provider in messengers().items() if not provider.sends_template_values]
        lacks_text = Q()
        for code in sendability.NEEDED_AS_TEXT:
            lacks_text |= Q(missing_parts__contains=[{"code": code}])
        return self.filter(Q(missing_parts=[]) | (Q(api_channel__kind__in=kinds) & ~lacks_text))

    def active(self) -> TemplateQuerySet:
        """Return templates that are neither deleted nor archived."""
        return self.exclude(status__in=[Status.DELETED, Status.ARCHIVED])

    def visible_to(self, user: Any) -> TemplateQuerySet:
        """Return the templates that a user may see.

        Admins see all, and auditors, who see no chats. Operators see those of the API channels connected to their chat
        channels, limited to their tags if they have any.
        """
        if user.has_perm(permissions.VIEW_ALL_CHATS) or permissions.sees_settings_only(user):
            return self
        channels = ApiChannel.objects.filter(watched__in=ChatChannel.objects.all().visible_to(user))
        connected = self.filter(api_channel__in=channels)
        tags = TemplateTags.objects.filter(user=user).values_list("tags", flat=True).first()
        return connected.filter(Q(tags=[]) | Q(tags__overlap=tags)) if tags else connected


class Template(models.Model):
    """One template of one account in one language."""

    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("API channel"), on_delete=models.PROTECT, related_name="templates"
    )
    name = models.CharField(_("name"), max_length=512)
    language = models.CharField(
        _("language"), max_length=20, help_text=_("Provider's language code, such as ru or en_US.")
    )
    category = models.CharField(_("category"), max_length=40, choices=Category.choices, default=Category.UTILITY)
    requested_category = models.CharField(_("requested category"), max_length=40, blank=True)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices, default=Status.DRAFT)
    quality = models.CharField(_("quality"), max_length=10, choices=Quality.choices, default=Quality.UNKNOWN)
    parameter_format = models.CharField(max_length=20, default="POSITIONAL")
    components = models.JSONField(_("components"), default=list)  # as in the Graph API
    variables = models.JSONField(_("variables"), default=list, blank=True)  # [{key, label, example, hint, default}]
    # Parts that Okno cannot fill, as ``sendability`` names them. Stored, so that lists can filter by them.
    missing_parts = models.JSONField(default=list, db_default=[], blank=True, editable=False)
    reject_reason = RedactedTextField(_("rejection reason"), blank=True)
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    # Last status that the provider reported. A draft here may still be approved there, with its previous text.
    provider_status = models.CharField(max_length=20, blank=True, editable=False)
    tags = ArrayField(
        models.CharField(max_length=40),
        verbose_name=_("tags"),
        default=list,
        blank=True,
        help_text=_("Operators with tags see templates that have one of their tags or none."),
    )
    submitted_at = models.DateTimeField(_("sent for approval"), null=True, blank=True)
    approved_at = models.DateTimeField(_("approved"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    times_used = models.IntegerField(_("times used"), default=0)

    objects = TemplateQuerySet.as_manager()

    class Meta:
        verbose_name = _("template")
        verbose_name_plural = _("templates")
        ordering = ["name", "language"]
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "name", "language"], name="one_template_per_name_and_language"
            )
        ]
        indexes = [
            models.Index(
                fields=["api_channel", "external_id"], condition=~Q(external_id=""), name="template_by_external_id"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} · {self.language}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is None or "components" in fields:
            self.update_missing_parts()
            if fields is not None:
                kwargs["update_fields"] = {*fields, "missing_parts"}
        super().save(*args, **kwargs)

    @cached_property
    def definition(self) -> TemplateDefinition:
        """The text with its variables, parsed. Raises InvalidTemplate for broken components."""
        parsed = graph_format.parse_template(self.as_graph(), described=variables_from_rows(self.variables))
        return replace(parsed, requested_category=self.requested_category)

    def as_graph(self) -> dict[str, Any]:
        """Return the row as the Graph API lists templates."""
        return {
            "id": self.external_id,
            "name": self.name,
            "language": self.language,
            "category": self.category,
            "status": self.status.upper(),
            "parameter_format": self.parameter_format,
            "components": self.components,
        }

    def update_missing_parts(self) -> None:
        """Recompute ``missing_parts`` from the components. Call before bulk writes; ``save`` calls it itself."""
        self.missing_parts = sendability.serialize_missing_parts(self.as_graph())

    def set_definition(self, definition: TemplateDefinition) -> None:
        """Set components and variables without saving. ``lifecycle.change_text`` also keeps the previous version."""
        row = graph_format.serialize_template(definition)
        self.components = row["components"]
        self.parameter_format = row.get("parameter_format", "POSITIONAL")
        self.variables = variables_to_rows(definition.variables)
        self.__dict__.pop("definition", None)

    @property
    def previous_text_status(self) -> str:
        """Return the provider's status of the previous text while a newer draft exists here; else an empty string."""
        status = self.provider_status if self.status == Status.DRAFT else ""
        return str(Status(status).label) if status in Status.values else ""

    @property
    def missing(self) -> list[Problem]:
        """Return the parts that block sending over this template's channel."""
        found = sendability.load_missing_parts(self.missing_parts)
        if self.api_channel.provider.sends_template_values:
            return found
        return [part for part in found if part.code in sendability.NEEDED_AS_TEXT]

    @property
    def unsendable_reason(self) -> StrOrPromise:
        """Return "Cannot be sent from Okno: …", or an empty string if nothing blocks sending."""
        return sendability.describe_missing_parts(self.missing)

    @property
    def is_sendable(self) -> bool:
        return self.status == Status.APPROVED and self.api_channel.provider.sends_templates and not self.missing


def variables_from_rows(rows: Iterable[dict[str, Any]]) -> list[Variable]:
    """Convert stored rows (key, label, example, hint, default) to variables. Skip rows without a key."""

    def text(row: dict[str, Any], name: str) -> str:
        return str(row.get(name) or "")

    return [
        Variable(
            str(row["key"]),
            label=text(row, "label"),
            example=text(row, "example"),
            hint=text(row, "hint"),
            default=text(row, "default"),
        )
        for row in rows
        if row.get("key")
    ]


def variables_to_rows(variables: Sequence[Variable]) -> list[dict[str, str]]:
    """Convert variables to rows for storage. Their other properties follow from the components."""
    names = ("key", "label", "example", "hint", "default")
    return [{name: getattr(variable, name) for name in names} for variable in variables]


def apply_variable_rows(definition: TemplateDefinition, rows: Iterable[dict[str, Any]]) -> TemplateDefinition:
    """Return the definition with labels, examples, hints and defaults from stored rows."""
    return merge_descriptions(definition, variables_from_rows(rows))
