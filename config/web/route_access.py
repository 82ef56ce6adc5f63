"""Audience of each route: who may use it.

``manage.py check`` reports every route that is missing here. ``tests/test_route_access.py`` calls every route as every
role and compares the responses with this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.urls import get_resolver


class Audience(StrEnum):
    ANYONE = "anyone"
    LINK = "anyone with the secret or signature in the URL"
    API_KEY = "programs with an API channel's secret key, limited to this channel"
    API_USERS = "users who may see chats, and their API tokens, limited to their chat channels"
    API_SETTINGS = "the same users, and auditors for reading, who see all channels and templates"
    API_ADMINS = "admins, with a session or an API token"
    API_PERMITTED = "users and API tokens with a special permission, limited to their chat channels"
    USERS = "signed-in users who may see chats, limited to their chat channels"
    REPORTS = "supervisors and admins, limited to their chat channels"
    OWN_ACCOUNT = "signed-in users, for their own account"
    OWN_ROWS = "signed-in users, for rows of their own account"
    PERMITTED = "signed-in users with a special permission, limited to their chat channels"
    SCRAPERS = "programs on this machine, METRICS_TOKEN, metrics tokens of service accounts, and API tokens of staff"
    STAFF = "staff; the page shows no chat data"
    SETTINGS = "staff with permission for the model, and auditors; the page shows no chat data"
    ADMINS = "staff with permission for the model"
    SUPERUSERS = "superusers"


A = Audience
APP_INDEX = "admin/^(?P<app_label>"  # the pattern continues with the apps, in no fixed order

ROUTES: dict[str, Audience] = {
    # Webhooks, and the public API for programs
    "webhooks/<slug:kind>/<str:token>/": A.LINK,
    "webhooks/<slug:kind>/<str:token>": A.LINK,
    **{
        rf"^uapi/{method}/?$": A.API_KEY
        for method in (
            *("chat/addMessage", "chat/sendMessage", "chat/changeAssignee"),
            *("create/comment", "create/client", "create/ticket", "create/ticket/async", "create/user"),
            *("update/client", "update/ticket", "update/user", "delete/user"),
            *("ticket", "ticket/fields", "tickets", "tags", "client", "clients", "user", "users", "groups", "channels"),
        )
    },
    "uapi/<path:name>": A.ANYONE,  # unknown methods
    # The REST API
    "api/v1/^conversations/?$": A.API_USERS,
    "api/v1/^conversations/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/v1/^conversations/(?P<pk>[0-9]{1,19})/assign/?$": A.API_USERS,
    "api/v1/^conversations/(?P<pk>[0-9]{1,19})/messages/?$": A.API_USERS,
    "api/v1/^contacts/?$": A.API_USERS,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/changes/?$": A.API_USERS,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/erase/?$": A.API_PERMITTED,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/export/?$": A.API_PERMITTED,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/notes/(?P<note_id>[0-9]{1,18})/?$": A.API_USERS,
    "api/v1/^contacts/(?P<pk>[0-9]{1,19})/notes/?$": A.API_USERS,
    "api/v1/^messages/?$": A.API_USERS,
    "api/v1/^messages/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/v1/^deliveries/?$": A.API_USERS,
    "api/v1/^deliveries/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/v1/^deliveries/(?P<pk>[0-9]{1,19})/retry/?$": A.API_USERS,
    "api/v1/^webhook-events/?$": A.API_ADMINS,
    "api/v1/^webhook-events/(?P<pk>[0-9]{1,19})/?$": A.API_ADMINS,
    "api/v1/^channels/?$": A.API_SETTINGS,
    "api/v1/^channels/(?P<pk>[0-9]{1,19})/?$": A.API_SETTINGS,
    "api/v1/^chat-channels/?$": A.API_SETTINGS,
    "api/v1/^chat-channels/(?P<pk>[0-9]{1,19})/?$": A.API_SETTINGS,
    "api/v1/^teams/?$": A.API_USERS,
    "api/v1/^teams/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/v1/^templates/?$": A.API_SETTINGS,
    "api/v1/^templates/recognize/?$": A.API_USERS,
    "api/v1/^templates/(?P<pk>[0-9]{1,19})/?$": A.API_SETTINGS,
    "api/v1/^templates/(?P<pk>[0-9]{1,19})/preview/?$": A.API_USERS,
    "api/v1/^held-replies/?$": A.API_USERS,
    "api/v1/^held-replies/(?P<pk>[0-9]{1,19})/?$": A.API_USERS,
    "api/schema/": A.ANYONE,
    "api/docs/": A.ANYONE,
    "^api/": A.ANYONE,  # unknown addresses
    # Monitoring
    "health/ready": A.ANYONE,
    "metrics": A.SCRAPERS,
    "csp-report/": A.ANYONE,
    # Files and links
    "files/<int:pk>/": A.USERS,
    "files/shared/<str:signature>/": A.LINK,
    "shared/<str:signature>/": A.LINK,
    "shared/<str:signature>/file": A.LINK,
    "send/<str:signature>/": A.LINK,
    "handover/<str:token>/": A.LINK,
    # The desk
    "chats/": A.USERS,
    "chats/updates/": A.USERS,
    "chats/find/": A.USERS,
    "chats/next-waiting/": A.USERS,
    "chats/bulk/": A.USERS,
    "chats/bulk/undo/": A.USERS,
    "chats/bulk/choices/": A.USERS,
    "chats/session/": A.USERS,
    "desk/settings/": A.USERS,
    "desk/settings/notifications/": A.USERS,
    "desk/availability/": A.USERS,
    "desk/push/": A.USERS,
    "desk/push/delete/": A.USERS,
    "desk/push/test/": A.USERS,
    "manifest.webmanifest": A.ANYONE,  # browsers load it without cookies
    "service-worker.js": A.ANYONE,
    "offline/": A.ANYONE,
    "chats/<int:pk>/": A.USERS,
    "chats/<int:pk>/send/": A.USERS,
    "chats/<int:pk>/messages/<int:message_id>/reaction/": A.USERS,
    "chats/<int:pk>/files/": A.USERS,
    "chats/<int:pk>/files/<int:upload_id>/": A.USERS,
    "chats/<int:pk>/files/<int:upload_id>/rename/": A.USERS,
    "chats/<int:pk>/files/<int:upload_id>/delete/": A.USERS,
    "chats/<int:pk>/canned-responses/": A.USERS,
    "chats/<int:pk>/client/edit/": A.USERS,
    "chats/<int:pk>/client/merge/": A.PERMITTED,
    "chats/<int:pk>/client/merges/<int:merge_id>/undo/": A.PERMITTED,
    "chats/<int:pk>/client/notes/": A.USERS,
    "chats/<int:pk>/client/notes/<int:note_id>/edit/": A.USERS,
    "chats/<int:pk>/client/notes/<int:note_id>/delete/": A.USERS,
    "chats/<int:pk>/notes/": A.USERS,
    "chats/<int:pk>/notes/<int:note_id>/edit/": A.USERS,
    "chats/<int:pk>/notes/<int:note_id>/delete/": A.USERS,
    "chats/<int:pk>/people/": A.USERS,
    "chats/<int:pk>/client/tags/": A.USERS,
    "chats/<int:pk>/client/tags/suggested/": A.USERS,
    "chats/<int:pk>/client/erase/": A.PERMITTED,
    "chats/<int:pk>/client/export/": A.PERMITTED,
    "chats/<int:pk>/draft/": A.USERS,
    "chats/<int:pk>/seen/": A.USERS,
    "chats/<int:pk>/assign/": A.USERS,
    "chats/<int:pk>/macros/<int:macro_id>/": A.USERS,
    "chats/<int:pk>/snooze/": A.USERS,
    "chats/<int:pk>/request/": A.USERS,
    "chats/<int:pk>/messages/<int:message_id>/trail/": A.USERS,
    "chats/<int:pk>/messages/<int:message_id>/resend/": A.USERS,
    "chats/<int:pk>/files/<int:file_id>/fetch/": A.USERS,
    "chats/<int:pk>/messages/<int:message_id>/accept-unknown/": A.USERS,
    "chats/<int:pk>/templates/": A.USERS,
    "chats/<int:pk>/templates/recognize/": A.USERS,
    "chats/<int:pk>/templates/<int:template_id>/": A.USERS,
    "chats/<int:pk>/templates/<int:template_id>/send/": A.USERS,
    "chats/<int:pk>/templates/<int:template_id>/hold/": A.USERS,
    "chats/<int:pk>/held/<int:held_id>/unhold/": A.USERS,
    "desk/tags/": A.USERS,
    "desk/views/": A.USERS,
    "desk/views/add/": A.USERS,
    "desk/views/counts/<slug:view_page>/": A.USERS,
    "desk/views/<int:pk>/": A.OWN_ROWS,  # and shared rows: tests/test_saved_views.py
    "desk/views/<int:pk>/edit/": A.OWN_ROWS,
    "desk/replies/": A.USERS,
    "desk/replies/<slug:reply_kind>/": A.USERS,
    "desk/replies/<slug:reply_kind>/<int:pk>/": A.OWN_ROWS,
    "contacts/": A.USERS,
    "contacts/import/": A.REPORTS,
    "contacts/import/<int:pk>/": A.REPORTS,
    "contacts/import/<int:pk>/refused.csv": A.REPORTS,
    "contacts/export.<slug:file_format>": A.PERMITTED,
    "contacts/new-chat/": A.USERS,
    "chats/<int:pk>/client/consent/": A.USERS,
    "requests/": A.USERS,
    "requests/change/": A.USERS,
    "requests/undo/": A.USERS,
    "windows/": A.USERS,
    "windows/missed.csv": A.REPORTS,
    "windows/replies/": A.USERS,
    "templates/": A.USERS,
    "templates/<int:pk>/": A.USERS,
    "templates/<int:pk>/favorite/": A.USERS,
    "templates/<int:pk>/send/": A.USERS,
    "templates/<int:pk>/test/": A.PERMITTED,
    "phone/<int:pk>/": A.USERS,  # only for providers with a training phone
    "phone/<int:pk>/messages": A.USERS,
    "phone/<int:pk>/post": A.USERS,
    "": A.USERS,
    # Signing in and out, language
    "login/": A.ANYONE,
    "logout/": A.ANYONE,
    "i18n/setlang/": A.ANYONE,
    "admin/login/": A.ANYONE,
    # A person's own account
    "account/": A.OWN_ACCOUNT,
    "account/sessions/": A.OWN_ACCOUNT,
    "account/sessions/<int:pk>/end/": A.OWN_ROWS,
    "account/sessions/end-others/": A.OWN_ACCOUNT,
    "account/tokens/": A.OWN_ACCOUNT,
    "account/tokens/new/": A.OWN_ACCOUNT,
    "account/tokens/<int:pk>/revoke/": A.OWN_ROWS,
    "account/email/": A.OWN_ACCOUNT,
    "account/email/sent/": A.ANYONE,
    r"^account/email/confirm/(?P<key>[-:\w]+)/$": A.ANYONE,  # a wrong key gets a page that says so
    "account/password/": A.OWN_ACCOUNT,
    "account/password/set/": A.OWN_ACCOUNT,
    "account/password/reset/": A.ANYONE,
    "account/password/reset/sent/": A.ANYONE,
    r"^account/password/link/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": A.ANYONE,  # a wrong key gets a page that says so
    "account/password/link/done/": A.ANYONE,
    "account/confirm/": A.OWN_ACCOUNT,
    "account/inactive/": A.ANYONE,
    "account/second-factor/": A.OWN_ACCOUNT,
    "account/second-factor/authenticate/": A.ANYONE,  # during a sign-in
    "account/second-factor/reauthenticate/": A.OWN_ACCOUNT,
    "account/second-factor/totp/activate/": A.OWN_ACCOUNT,
    "account/second-factor/totp/deactivate/": A.OWN_ACCOUNT,
    "account/second-factor/recovery-codes/": A.OWN_ACCOUNT,
    "account/second-factor/recovery-codes/generate/": A.OWN_ACCOUNT,
    "account/second-factor/recovery-codes/download/": A.OWN_ACCOUNT,
    "account/second-factor/webauthn/": A.OWN_ACCOUNT,
    "account/second-factor/webauthn/add/": A.OWN_ACCOUNT,
    "account/second-factor/webauthn/reauthenticate/": A.OWN_ACCOUNT,
    "account/second-factor/webauthn/login/": A.ANYONE,
    "account/second-factor/webauthn/keys/<int:pk>/edit/": A.OWN_ACCOUNT,
    "account/second-factor/webauthn/keys/<int:pk>/remove/": A.OWN_ACCOUNT,
    "account/sso/<str:provider_id>/login/": A.ANYONE,
    "account/sso/<str:provider_id>/callback/": A.ANYONE,
    "account/sso/cancelled/": A.ANYONE,
    "account/sso/error/": A.ANYONE,
    "account/sso/signup/": A.ANYONE,
    # The admin
    "admin/": A.STAFF,
    "admin/search/": A.STAFF,
    "admin/logout/": A.ANYONE,
    "admin/password_change/": A.ANYONE,  # redirects to the page of the account
    "admin/password_change/done/": A.STAFF,
    "admin/autocomplete/": A.ADMINS,
    "admin/jsi18n/": A.STAFF,
    "admin/r/<path:content_type_id>/<path:object_id>/": A.STAFF,
    APP_INDEX: A.SETTINGS,  # lists only what the user may open
    "admin/(?P<url>.*)$": A.STAFF,  # unknown pages
}

# Pages of each model in the admin: Django's six pages, and pages of the portal.
MODEL_PAGES = ("", "add/", *(f"<path:object_id>/{page}" for page in ("history/", "delete/", "change/", "")))
WRITING_PAGES = ("add/", "<path:object_id>/delete/")
ACTION_PAGE = "<int:pk>/actions/<slug:action>/"
ADMIN_MODELS: dict[str, tuple[Audience, tuple[str, ...]]] = {
    "accounts/user": (A.SETTINGS, ("<id>/password/", "<int:pk>/access/<slug:what>/")),
    "auth/group": (A.SETTINGS, ()),
    "axes/accessattempt": (A.SUPERUSERS, ()),
    "axes/accesslog": (A.SUPERUSERS, ()),
    "axes/accessfailurelog": (A.SUPERUSERS, ()),
    "audit/auditrecord": (A.SETTINGS, (ACTION_PAGE,)),
    "bridge/alert": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/contact": (A.ADMINS, (ACTION_PAGE, "<int:pk>/export/")),
    "bridge/contactmerge": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/conversation": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/deadletter": (A.ADMINS, (ACTION_PAGE, "bulk/<slug:action>/", "bulk-actions/<int:pk>/")),
    "bridge/delivery": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/erasure": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/heartbeat": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/heldreply": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/message": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/mismatch": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/cannedresponse": (A.ADMINS, ()),
    "bridge/macro": (A.ADMINS, ()),
    "bridge/retentionrule": (A.SETTINGS, ()),
    "bridge/servicewindow": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/straystatus": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/ticket": (A.ADMINS, (ACTION_PAGE,)),
    "bridge/ticketfield": (A.SETTINGS, ()),
    "bridge/contactfield": (A.SETTINGS, ()),
    "bridge/webhookevent": (A.ADMINS, (ACTION_PAGE,)),
    "channels_setup/apichannel": (A.SETTINGS, (ACTION_PAGE,)),
    "channels_setup/chatchannel": (A.SETTINGS, (ACTION_PAGE, "<int:pk>/check/")),
    "channels_setup/alertroute": (A.ADMINS, (ACTION_PAGE,)),
    "channels_setup/team": (A.SETTINGS, ()),
    "accounts/apitoken": (A.SETTINGS, ("<int:pk>/revoke/",)),
    "accounts/serviceaccount": (A.SETTINGS, ()),
    "templates_registry/template": (
        A.SETTINGS,
        ("preview/", "sync/", "export/", "import/", "action/<slug:slug>/"),
    ),
    "templates_registry/templatetags": (A.SETTINGS, ()),
}
READING_PAGES = ("export/",)
ROUTES |= {
    f"admin/{model}/{page}": A.ADMINS if audience is A.SETTINGS and page not in READING_PAGES else audience
    for model, (audience, own_pages) in ADMIN_MODELS.items()
    for page in own_pages
}
ROUTES |= {
    f"admin/{model}/{page}": A.ADMINS if audience is A.SETTINGS and page in WRITING_PAGES else audience
    for model, (audience, _own_pages) in ADMIN_MODELS.items()
    for page in MODEL_PAGES
}


def route_key(route: str) -> str:
    """Return the key in ROUTES for a route of the resolver."""
    return APP_INDEX if route.startswith(APP_INDEX) else route


def audience_for(route: str) -> Audience | None:
    return ROUTES.get(route_key(route))


def list_routes(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every route of the resolver with its URL pattern object."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = f"{prefix}{pattern.pattern}"
        if hasattr(pattern, "url_patterns"):
            yield from list_routes(pattern, route)
        else:
            yield route, pattern


@register("urls")
def check_routes_declared(app_configs: Any, **_kwargs: Any) -> list[CheckMessage]:
    """System check: report routes without a declared audience."""
    hint = "Add it to ROUTES or ADMIN_MODELS in config/web/route_access.py."
    return [
        Error(f"The route “{route}” does not declare who may use it.", hint=hint, id="okno.E004")
        for route, _pattern in list_routes()
        if audience_for(route) is None
    ]
