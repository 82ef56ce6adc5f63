"""Template filters of the account pages and emails."""

from django import template
from django.forms import BoundField
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from config.accounts.user_agents import describe_browser

register = template.Library()

# In the words of our pages. django-allauth's own labels use title case and other terms.
LABELS = {
    "oldpassword": _("Current password"),
    "password1": _("New password"),
    "password2": _("New password again"),
    "password": _("Password"),
    "email": _("Email address"),
    "code": _("Code"),
    "name": _("Name"),
    "passwordless": _("Sign in with this passkey without a password"),
}
HELP_TEXTS = {"passwordless": _("Your device asks for a fingerprint, a face or a PIN.")}


@register.filter
def account_label(field: BoundField) -> str:
    return str(LABELS.get(field.name, field.label))


@register.filter
def account_help(field: BoundField) -> str:
    return str(HELP_TEXTS.get(field.name, field.help_text))


@register.filter
def without_placeholder(field: BoundField) -> BoundField:
    """Remove django-allauth's placeholder, which repeats the label."""
    field.field.widget.attrs.pop("placeholder", None)
    return field


@register.filter
def browser_name(user_agent: str) -> str:
    return describe_browser(user_agent) or gettext("unknown")
