from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChannelsSetupConfig(AppConfig):
    name = "channels_setup"
    verbose_name = _("Channels")
    default_auto_field = "django.db.models.BigAutoField"
