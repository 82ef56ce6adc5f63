"""What a web process would otherwise load during its first requests, loaded before the workers are forked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from django.urls import reverse
from django.utils import translation


def load_urls_and_translations() -> None:
    """Load the URLs with all views, and the translations."""
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            reverse("start")


def load_templates() -> None:
    """Compile the portal's own templates. Django keeps them; a broken one fails on its own page."""
    folders: Any = settings.TEMPLATES[0]["DIRS"]
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.html")):
            with suppress(TemplateDoesNotExist, TemplateSyntaxError):
                get_template(str(path.relative_to(folder)))
