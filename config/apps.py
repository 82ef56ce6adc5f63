from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate, post_save


class Config(AppConfig):
    name = "config"
    verbose_name = "Okno"

    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Every process needs the Celery app, so that delay() uses the right broker. route_access registers a check.
        from config import celery  # noqa: F401
        from config.admin_site.search_limit import limit_admin_searches
        from config.web import route_access  # noqa: F401

        from .accounts import signals
        from .accounts.authentication import revoke_tokens_of_inactive

        signals.connect_signals()

        post_save.connect(revoke_tokens_of_inactive, sender=settings.AUTH_USER_MODEL, dispatch_uid="revoke_api_tokens")
        limit_admin_searches()
        # After the migration of the last app, because the groups need the permissions of all apps.
        post_migrate.connect(make_groups, sender=apps.get_app_config("bridge"))


def make_groups(**_: Any) -> None:
    from channels_setup.roles import ensure_groups

    ensure_groups()
