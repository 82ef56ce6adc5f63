"""django-allauth's settings for OpenID Connect, from the environment."""

from typing import Any

from config.environment import read_setting


def build_oidc_providers() -> dict[str, Any]:
    """Return allauth's ``SOCIALACCOUNT_PROVIDERS`` from the environment; empty without a server."""
    if not read_setting("OIDC_SERVER_URL"):
        return {}
    app = {
        "provider_id": "company",
        "name": read_setting("OIDC_NAME"),
        "client_id": read_setting("OIDC_CLIENT_ID"),
        "secret": read_setting("OIDC_CLIENT_SECRET"),
        "settings": {"server_url": read_setting("OIDC_SERVER_URL")},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "EMAIL_AUTHENTICATION": True, "APPS": [app]}}
