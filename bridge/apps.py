from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BridgeConfig(AppConfig):
    name = "bridge"
    verbose_name = _("Conversations")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .conversations import assignment_signals
        from .metrics import counters, flushing

        assignment_signals.connect_signals()
        counters.pending.on_first_count = flushing.start_flushing
