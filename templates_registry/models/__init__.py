"""Models of the registry: templates, their versions and events, sync state, operators' tags and favorites."""

from .registry import Registry
from .tags import TemplateTags
from .templates import (
    Category,
    Quality,
    Status,
    Template,
    TemplateQuerySet,
    described,
    plain_variables,
    with_variables,
)
from .usage import TemplateUse
from .versions import TemplateEvent, TemplateVersion

__all__ = [
    "Category",
    "Quality",
    "Registry",
    "Status",
    "Template",
    "TemplateEvent",
    "TemplateQuerySet",
    "TemplateTags",
    "TemplateUse",
    "TemplateVersion",
    "described",
    "plain_variables",
    "with_variables",
]
