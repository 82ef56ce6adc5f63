from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "config.audit"
    label = "audit"
    verbose_name = _("Audit")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import context

        connection_created.connect(context.watch_connection, dispatch_uid="audit_watch_connection")
        # Django sends it for each app, after the migrations of all apps.
        post_migrate.connect(install_triggers_after_migrate, sender=self, dispatch_uid="audit_install_triggers")


def install_triggers_after_migrate(*, using: str, **_kwargs: Any) -> None:
    from . import triggers

    triggers.install_triggers(using=using)
