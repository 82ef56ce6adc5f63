"""Routes whose responses are recorded as looks and exports: raw data, secrets' pages, files with many rows.

Looks at chats are recorded where the chat is known (``bridge.conversations.chat_looks``).
``tests/test_audit_coverage.py`` checks that every route of a download is here or records by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from config.audit import record
from config.audit.models import Action


@dataclass(frozen=True, kw_only=True)
class RecordedLook:
    action: str
    object_type: str
    id_name: str = ""  # keyword of the route that is the object's number
    parameters: tuple[str, ...] = ()  # numbers in the query string, recorded as details


def admin_pages(*models: str) -> dict[str, RecordedLook]:
    """Return the admin's page of one row, for models whose rows hold data of clients."""
    return {
        f"admin/{model}/<path:object_id>/change/": RecordedLook(
            action=Action.VIEWED, object_type=model.replace("/", "."), id_name="object_id"
        )
        for model in models
    }


def admin_lists(*models: str) -> dict[str, RecordedLook]:
    """Return the admin's lists of models whose columns show names, phones or words of clients."""
    return {
        f"admin/{model}/": RecordedLook(action=Action.VIEWED, object_type=model.replace("/", ".")) for model in models
    }


RECORDED_LOOKS: dict[str, RecordedLook] = {
    **admin_lists(
        "bridge/contact",
        "bridge/conversation",
        "bridge/deadletter",
        "bridge/heldreply",
        "bridge/message",
        "bridge/ticket",
    ),
    **admin_pages(
        "bridge/contact",
        "bridge/contactmerge",
        "bridge/conversation",
        "bridge/deadletter",
        "bridge/delivery",
        "bridge/heldreply",
        "bridge/message",
        "bridge/mismatch",
        "bridge/straystatus",
        "bridge/ticket",
        "bridge/webhookevent",
    ),
    "api/v1/^webhook-events/?$": RecordedLook(action=Action.VIEWED, object_type="bridge.webhookevent"),
    "api/v1/^webhook-events/(?P<pk>[0-9]{1,19})/?$": RecordedLook(
        action=Action.VIEWED, object_type="bridge.webhookevent", id_name="pk"
    ),
    "phone/<int:pk>/": RecordedLook(action=Action.VIEWED, object_type="channels_setup.apichannel", id_name="pk"),
    "windows/missed.csv": RecordedLook(
        action=Action.EXPORTED, object_type="bridge.servicewindow", parameters=("days", "channel")
    ),
    "admin/templates_registry/template/export/": RecordedLook(
        action=Action.EXPORTED, object_type="templates_registry.template", parameters=("channel",)
    ),
    "account/second-factor/recovery-codes/": RecordedLook(action=Action.SECRET_SHOWN, object_type="mfa.authenticator"),
    "account/second-factor/recovery-codes/download/": RecordedLook(
        action=Action.SECRET_SHOWN, object_type="mfa.authenticator"
    ),
}


def record_look(request: HttpRequest, response: HttpResponse) -> None:
    """Record a successful request of one of these routes, by any method: a POST may get the same file as a GET."""
    match = request.resolver_match
    look = RECORDED_LOOKS.get(match.route) if match else None
    if match is None or look is None or request.method == "HEAD" or response.status_code != 200:
        return
    details = {
        name: int(value)
        for name in look.parameters
        if (value := request.GET.get(name, "")).isdecimal() and len(value) < 19
    }
    record.record_action(
        look.action, look.object_type, match.kwargs.get(look.id_name, "") if look.id_name else "", details=details
    )
