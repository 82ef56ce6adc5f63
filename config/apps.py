from django.apps import AppConfig


class Config(AppConfig):
    name = "config"
    verbose_name = "Okno"

    def ready(self) -> None:
        # Loads the Celery app in every process, so that a task's delay() finds the right broker.
        from config import celery  # noqa: F401
