"""Settings of a WhatsApp Cloud account, at Meta or at a provider with the same API (360dialog, Gupshup)."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from channels_setup.providers.base import CHOICE, SECRET, URL, Account, AccountSetting

from .graph_routing import RoutingTarget

DEFAULT_BASE_URL = "https://graph.facebook.com"
META_MEDIA_HOSTS = ("lookaside.fbsbx.com", "graph.facebook.com")
DEFAULT_MEDIA_HOSTS = ", ".join(META_MEDIA_HOSTS)
DEFAULT_API_VERSION = "v25.0"
BEARER_HEADER = "authorization"
META_SIGNATURE_HEADER = "x-hub-signature-256"
WEBHOOK_HEADER = "x-okno-webhook-secret"
BY_UPLOAD, BY_LINK = "upload", "link"

SETTINGS: tuple[AccountSetting, ...] = (
    AccountSetting(
        name="phone_number_id",
        label=_("Phone number ID"),
        help=_("App dashboard → WhatsApp → API setup. It is not the phone number itself."),
        required=True,
    ),
    AccountSetting(
        name="waba_id",
        label=_("WhatsApp Business account ID"),
        help=_("App dashboard → WhatsApp → API setup: the account that holds the number and its templates."),
        required=True,
    ),
    AccountSetting(
        name="access_token",
        label=_("Access token"),
        help=_(
            "A permanent token of a system user with the permissions whatsapp_business_messaging and "
            "whatsapp_business_management."
        ),
        kind=SECRET,
        required=True,
        resolves=("wa_token", "wa_permission", "unauthorized"),
    ),
    AccountSetting(
        name="app_secret",
        label=_("App secret"),
        help=_("App dashboard → App settings → Basic. It proves that a webhook comes from Meta."),
        kind=SECRET,
        required_group="proof",
    ),
    AccountSetting(
        name="webhook_secret",
        label=_("Webhook secret"),
        help=_(
            "Replaces the app secret if the provider does not sign webhooks, such as 360dialog for direct customers. "
            "The provider sends this secret in the header X-Okno-Webhook-Secret. A button on this page generates one."
        ),
        kind=SECRET,
        required_group="proof",
        min_length=16,
    ),
    AccountSetting(
        name="verify_token",
        label=_("Verify token"),
        help=_("For Meta's webhook form, together with the callback URL. Leave empty to generate one."),
        kind=SECRET,
        generated=True,
    ),
    AccountSetting(name="api_version", label=_("API version"), default=DEFAULT_API_VERSION),
    AccountSetting(
        name="base_url",
        label=_("API address"),
        help=_("Change it only for a provider with the same API, such as 360dialog: https://waba-v2.360dialog.io"),
        default=DEFAULT_BASE_URL,
        kind=URL,
    ),
    AccountSetting(
        name="auth_header",
        label=_("Access token header"),
        help=_("Meta: authorization. 360dialog: D360-API-KEY."),
        default=BEARER_HEADER,
    ),
    AccountSetting(
        name="signature_header",
        label=_("Signature header"),
        help=_("360dialog: x-360dialog-signature."),
        default=META_SIGNATURE_HEADER,
    ),
    AccountSetting(
        name="id_in_path",
        label=_("IDs and version in the path"),
        help=_("Choose “no” for 360dialog, whose paths are short, such as /messages."),
        kind=CHOICE,
        default="yes",
        choices=(("yes", _("yes")), ("no", _("no"))),
    ),
    AccountSetting(
        name="messages_per_second",
        label=_("Messages per second"),
        help=_(
            "The number's limit: 80; 20 if it is also used in the phone app; 1000 after the provider has raised it."
        ),
        default="80",
    ),
    AccountSetting(
        name="files_go",
        label=_("Send files to clients"),
        help=_(
            "By upload: the portal sends the file to WhatsApp. By link: WhatsApp downloads it from the portal, whose "
            "address must then be reachable from the internet."
        ),
        kind=CHOICE,
        default=BY_UPLOAD,
        choices=((BY_UPLOAD, _("by upload")), (BY_LINK, _("by link"))),
    ),
    AccountSetting(
        name="media_hosts",
        label=_("Allowed file hosts"),
        help=_("Host names or origins (https://…), separated by commas. The access token is sent to no other host."),
        default=DEFAULT_MEDIA_HOSTS,
    ),
)


def get_option(account: Account, name: str, default: str = "") -> str:
    return str(account.options.get(name) or default)


def get_routing_target(account: Account) -> RoutingTarget:
    return RoutingTarget(
        account_id=get_option(account, "waba_id"),
        number_id=get_option(account, "phone_number_id"),
        number=account.number,
    )


def get_number_id(account: Account) -> str:
    return get_option(account, "phone_number_id")


def get_messages_per_second(account: Account) -> float:
    try:
        return min(max(float(get_option(account, "messages_per_second", "80")), 0.1), 1000.0)
    except ValueError:
        return 80.0


def get_base_url(account: Account) -> str:
    return get_option(account, "base_url", DEFAULT_BASE_URL).rstrip("/")


def has_ids_in_path(account: Account) -> bool:
    return get_option(account, "id_in_path", "yes") != "no"
