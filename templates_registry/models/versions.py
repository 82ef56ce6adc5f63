"""Versions of a template's text, and events: changes of status, text, category and quality."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from channels_setup.models.redacted_fields import RedactedTextField

from ..content import graph_format
from ..content.components import TemplateDefinition
from .templates import Status, Template, variables_from_rows


class TemplateVersion(models.Model):
    """One text of a template. A paste of the previous approved text is recognized as such."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField(_("number"))
    parameter_format = models.CharField(max_length=20)
    components = models.JSONField(_("components"))
    variables = models.JSONField(_("variables"), default=list)
    was_approved = models.BooleanField(_("was approved"), default=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("version of a template")
        verbose_name_plural = _("versions of a template")
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["template", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"{self.template} v{self.number}"

    @property
    def definition(self) -> TemplateDefinition:
        row = self.template.as_graph() | {"parameter_format": self.parameter_format, "components": self.components}
        return graph_format.parse_template(row, described=variables_from_rows(self.variables))


class TemplateEvent(models.Model):
    """One change of a template: its kind, old and new status, reason, and who or what made it."""

    class Source(models.TextChoices):
        MANUAL = "manual", _("by hand")
        PROVIDER = "provider", _("the provider")
        SYNC = "sync", _("synchronization")
        IMPORT = "import", _("import")

    EDITED = "edited"  # a kind of event: a new text was submitted for an approved template

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(_("when"), auto_now_add=True)
    from_status = models.CharField(_("from"), max_length=20, choices=Status.choices, blank=True)
    to_status = models.CharField(_("to"), max_length=20, choices=Status.choices)
    # status, text, category, category_planned, quality or edited
    kind = models.CharField(_("kind"), max_length=20)
    reason = RedactedTextField(_("why"), blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        verbose_name = _("event of a template")
        verbose_name_plural = _("events of a template")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.template}: {self.from_status} → {self.to_status}"
