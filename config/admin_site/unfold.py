"""Settings of django-unfold: colors, styles and the navigation of the admin."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from config.version import VERSION

# Accent and background colors of static/okno.css, as the scales that Unfold expects.
ACCENT_COLORS = {
    "50": "#eef8f4",
    "100": "#e2f2ec",
    "200": "#b5dccd",
    "300": "#84c9b0",
    "400": "#3fbf95",
    "500": "#2aa37d",
    "600": "#0a6f54",
    "700": "#085e47",
    "800": "#0a503e",
    "900": "#0a4033",
    "950": "#06251b",
}
BASE_COLORS = {
    "50": "#f6f5f2",
    "100": "#efede8",
    "200": "#e4e1da",
    "300": "#cfcac0",
    "400": "#9a9e99",
    "500": "#6b716d",
    "600": "#565b58",
    "700": "#3a413e",
    "800": "#2b302e",
    "900": "#1b1e1d",
    "950": "#141615",
}


def _require_permission(permission: str) -> Any:
    def allowed(request: HttpRequest) -> bool:
        return request.user.has_perm(permission)

    return allowed


def _is_never_active(request: HttpRequest) -> bool:
    """Never highlight the start page: it is outside the admin, and every URL starts with its path."""
    return False


def _model_link(title: Any, icon: str, model: str) -> dict[str, Any]:
    """Link to the list of a model, shown to users with permission to view it."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": _require_permission(f"{app}.view_{name}"),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Okno",
    "SITE_HEADER": "Okno",
    "SITE_SUBHEADER": format_lazy("{} · {}", _("WhatsApp and helpdesk"), VERSION),
    "SITE_SYMBOL": "window",
    "DASHBOARD_CALLBACK": "bridge.admin.channel_overview.add_channel_overviews",
    "SITE_URL": reverse_lazy("start"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("okno.svg")},
    ],
    "SHOW_LANGUAGES": True,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "9px",
    "COLORS": {"primary": ACCENT_COLORS, "base": BASE_COLORS},
    "STYLES": [lambda request: static("admin.css")],
    "SCRIPTS": [lambda request: static("copy-buttons.js")],
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": _("Start"),
                        "icon": "checklist",
                        "link": reverse_lazy("start"),
                        "active": _is_never_active,
                    },
                ],
            },
            {
                "title": _("Channels"),
                "items": [
                    _model_link(_("API channels"), "cable", "channels_setup.apichannel"),
                    _model_link(_("Chat channels"), "forum", "channels_setup.chatchannel"),
                ],
            },
            {
                "title": _("Templates"),
                "items": [
                    _model_link(_("Templates"), "article", "templates_registry.template"),
                    _model_link(_("Operators' tags"), "sell", "templates_registry.templatetags"),
                ],
            },
            {
                "title": _("Conversations"),
                "items": [
                    _model_link(_("Chats"), "chat", "bridge.conversation"),
                    _model_link(_("Requests"), "confirmation_number", "bridge.ticket"),
                    _model_link(_("Messages"), "sms", "bridge.message"),
                    _model_link(_("Service windows"), "timelapse", "bridge.servicewindow"),
                    _model_link(_("Held replies"), "hourglass_top", "bridge.heldreply"),
                    _model_link(_("Contacts"), "contacts", "bridge.contact"),
                    _model_link(_("Quick replies"), "bolt", "bridge.cannedresponse"),
                    _model_link(_("Macros"), "playlist_play", "bridge.macro"),
                    _model_link(_("Fields of requests"), "list_alt", "bridge.ticketfield"),
                    _model_link(_("Fields of clients"), "contact_page", "bridge.contactfield"),
                    _model_link(_("Erasures"), "ink_eraser", "bridge.erasure"),
                ],
            },
            {
                "title": _("Message exchange"),
                "items": [
                    _model_link(_("Deliveries"), "outbox", "bridge.delivery"),
                    {
                        **_model_link(_("Dead letters"), "unsubscribe", "bridge.deadletter"),
                        "permission": _require_permission("channels_setup.view_all_chats"),
                    },
                    _model_link(_("Mismatches"), "compare_arrows", "bridge.mismatch"),
                    _model_link(_("Webhook events"), "move_to_inbox", "bridge.webhookevent"),
                    _model_link(_("Statuses without a message"), "help_center", "bridge.straystatus"),
                ],
            },
            {
                "title": _("System"),
                "items": [
                    _model_link(_("Alerts"), "notifications", "bridge.alert"),
                    _model_link(_("Alert routes"), "campaign", "channels_setup.alertroute"),
                    _model_link(_("Heartbeats"), "monitor_heart", "bridge.heartbeat"),
                    _model_link(_("Retention and storage"), "auto_delete", "bridge.retentionrule"),
                    _model_link(_("Users"), "person", "accounts.user"),
                    _model_link(_("Groups"), "group", "auth.group"),
                    _model_link(_("Service accounts"), "smart_toy", "accounts.serviceaccount"),
                    _model_link(_("Teams"), "groups", "channels_setup.team"),
                    _model_link(_("API tokens"), "key", "accounts.apitoken"),
                    _model_link(_("Audit records"), "policy", "audit.auditrecord"),
                ],
            },
        ],
    },
}
