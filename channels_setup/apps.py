from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChannelsSetupConfig(AppConfig):
    name = "channels_setup"
    verbose_name = _("Channels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  # registers the system checks
