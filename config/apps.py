from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


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

        signals.connect_signals()

        limit_admin_searches()
        # After the migration of the last app, because the groups need the permissions of all apps.
        post_migrate.connect(make_groups, sender=apps.get_app_config("bridge"))


def make_groups(**_: Any) -> None:
    from channels_setup.roles import ensure_groups

    ensure_groups()
