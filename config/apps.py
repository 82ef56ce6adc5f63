from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class Config(AppConfig):
    name = "config"
    verbose_name = "Okno"

    def ready(self) -> None:
        # Loads the Celery app in every process, so that a task's delay() finds the right broker.
        from config import celery  # noqa: F401

        # After the last app of ours: by then every permission that the groups hold exists.
        post_migrate.connect(make_groups, sender=apps.get_app_config("bridge"))


def make_groups(**_: Any) -> None:
    from channels_setup.roles import ensure_groups

    ensure_groups()
