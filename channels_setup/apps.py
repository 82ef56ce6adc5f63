from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChannelsSetupConfig(AppConfig):
    name = "channels_setup"
    verbose_name = _("Channels")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created
        from django.db.models.signals import post_delete, post_save

        from . import checks  # noqa: F401  # importing registers the system checks
        from .database_schema import install_error_translation
        from .models import (
            ChatChannel,
            Credential,
            Secret,
            WebhookAddress,
            known_secrets,
        )

        for signal in (post_save, post_delete):
            for model in (Secret, Credential, ChatChannel, WebhookAddress):
                signal.connect(known_secrets.invalidate, sender=model, dispatch_uid=f"known_secrets {model.__name__}")
        connection_created.connect(install_error_translation)
