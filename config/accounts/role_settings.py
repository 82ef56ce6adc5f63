"""System check of the settings that name roles."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from channels_setup.roles import Role


@register("security")
def check_role_settings(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """Report unknown roles and pairs without a group: a sign-in would fail, or a second factor be left out."""
    named = {
        "OIDC_GROUP_ROLES": [pair.rpartition("=")[2].strip() for pair in settings.OIDC_GROUP_ROLES],
        "OWN_TOKEN_ROLES": [role for role in settings.OWN_TOKEN_ROLES if role != "none"],
        "SECOND_FACTOR_ROLES": [role for role in settings.SECOND_FACTOR_ROLES if role != "none"],
    }
    hint = f"Roles: {', '.join(Role.values)}."
    no_group = [
        Error(f"OIDC_GROUP_ROLES: “{pair}” names no group.", hint="Write group=role.", id="okno.E006")
        for pair in settings.OIDC_GROUP_ROLES
        if not pair.rpartition("=")[0].strip()
    ]
    unknown = [
        Error(f"{name} names the role “{role}”, which does not exist.", hint=hint, id="okno.E005")
        for name, roles in named.items()
        for role in roles
        if role not in Role.values
    ]
    return [*no_group, *unknown]
