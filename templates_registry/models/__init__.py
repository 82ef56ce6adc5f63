"""Models of the registry: templates, their versions and events, sync state, operators' tags and favorites."""

from .registry import Registry
from .tags import TemplateTags
from .templates import (
    Category,
    Quality,
    Status,
    Template,
    TemplateQuerySet,
    apply_variable_rows,
    variables_from_rows,
    variables_to_rows,
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
    "apply_variable_rows",
    "variables_from_rows",
    "variables_to_rows",
]
