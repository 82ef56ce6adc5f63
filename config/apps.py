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
        from config.monitoring import error_reports, trace_export
        from config.web import route_access  # noqa: F401

        from .accounts import (
            role_settings,  # noqa: F401  # registers a check
            signals,
        )
        from .accounts.token_warnings import connect_warnings

        signals.connect_signals()
        error_reports.start_error_reports()
        trace_export.start_tracing()

        connect_warnings()
        limit_admin_searches()
        # After the migration of the last app, because the groups need the permissions of all apps.
        post_migrate.connect(sync_role_groups, sender=list(apps.get_app_configs())[-1])


def sync_role_groups(**_: Any) -> None:
    from channels_setup.roles import sync_groups

    sync_groups()
