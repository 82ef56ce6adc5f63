"""Account check with the Graph API: queries, findings, and labels of the provider's codes."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody, parse_json_object
from channels_setup.codecs.values import as_text
from channels_setup.providers.base import AccountFinding

from . import graph_errors
from .graph_contacts import one_line

NUMBER, ACCOUNT, NUMBERS, APPS = "number", "account", "numbers", "apps"
NUMBER_FIELDS = (
    "display_phone_number,verified_name,quality_rating,status,name_status,code_verification_status,platform_type,"
    "throughput,whatsapp_business_manager_messaging_limit"
)
QUALITY: Mapping[str, str | Promise] = {"GREEN": _("high"), "YELLOW": _("medium"), "RED": _("low")}
LIMITS: Mapping[str, str | Promise] = {
    "TIER_50": "50",
    "TIER_250": "250",
    "TIER_2K": "2 000",
    "TIER_10K": "10 000",
    "TIER_100K": "100 000",
    "TIER_UNLIMITED": _("no limit"),
    "UNLIMITED": _("no limit"),
}
MESSAGES_PER_SECOND = {"STANDARD": 80, "HIGH": 1000}  # inbound and outbound together
THROUGHPUT: Mapping[str, str | Promise] = {
    "STANDARD": _("80 messages per second"),
    "HIGH": _("1000 messages per second"),
}
STATUS: Mapping[str, str | Promise] = {"CONNECTED": _("connected"), "ONLINE": _("connected")}
# Account events by the provider's code. Codes that are missing here are shown as they are.
EVENT_LABELS: Mapping[str, str | Promise] = {
    "ACCOUNT_DELETED": _("The account was deleted."),
    "ACCOUNT_OFFBOARDED": _("The account was removed from the Cloud API."),
    "ACCOUNT_RECONNECTED": _("The account is connected again."),
    "ACCOUNT_RESTRICTION": _("WhatsApp has restricted the account."),
    "ACCOUNT_VIOLATION": _("WhatsApp says that the account has violated its policies."),
    "DISABLE": _("The account is disabled."),
    "SCHEDULE_FOR_DISABLE": _("The account will be disabled."),
    "REINSTATE": _("The account is enabled again."),
    "RESTRICTED_BIZ_INITIATED_MESSAGING": _("Templates cannot be sent; replies within the window can."),
    "RESTRICTED_CUSTOMER_INITIATED_MESSAGING": _("Nothing can be sent, not even replies within the window."),
    "RESTRICTED_ADD_PHONE_NUMBER_ACTION": _("Phone numbers cannot be added."),
    "PARTNER_REMOVED": _("A partner has lost its access to the account."),
    "FLAGGED": _("The number's quality is low. WhatsApp may limit it soon."),
    "UNFLAGGED": _("The number's quality is no longer low."),
    "ONBOARDING": _("The number was connected."),
    "THROUGHPUT_UPGRADE": _("The number can send faster now."),
}


def list_check_queries(*, number_id: str, account_id: str) -> dict[str, tuple[str, str]]:
    """Return path and fields of each query by its name."""
    queries = {}
    if number_id:
        queries[NUMBER] = (number_id, NUMBER_FIELDS)
    if account_id:
        queries[ACCOUNT] = (account_id, "id,name,currency,account_review_status")
        queries[NUMBERS] = (f"{account_id}/phone_numbers", "id")
        queries[APPS] = (f"{account_id}/subscribed_apps", "")
    return queries


Reader = Callable[[Mapping[str, Any]], Iterator[AccountFinding]]


def read_findings(
    responses: Mapping[str, tuple[int, bytes] | None],
    *,
    number_id: str,
    per_second: float,
    extra_readers: Mapping[str, Reader] | None = None,
    optional: Container[str] = (),
) -> Iterator[AccountFinding]:
    """Yield what the responses show. A response is status and body, or None if none came.

    ``per_second`` is the rate in the channel's settings. Failures of ``optional`` queries are ignored, because not
    every provider supports them.
    """
    readers: dict[str, Reader] = {
        **(extra_readers or {}),
        NUMBER: lambda body: _read_number(body, per_second=per_second),
        ACCOUNT: _read_account,
        NUMBERS: lambda body: _read_numbers(body, number_id=number_id),
        APPS: _read_apps,
    }
    for name, response in responses.items():
        if response is None:
            yield AccountFinding(level="error", sentence=_("The provider is unreachable, or did not respond in time."))
            return
        status, raw = response
        try:
            body = parse_json_object(raw)
        except BadBody:
            body = {}
        if name in optional and (status >= 300 or not body):
            continue
        if status >= 300 or "error" in body or not body:
            yield from _read_failure(name, status, body)
        else:
            yield from readers[name](body)


def _read_failure(name: str, status: int, body: Mapping[str, Any]) -> Iterator[AccountFinding]:
    if name == NUMBERS:
        return  # the account's own response shows the failure, and a BSP may not list its numbers
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    code, words = as_text(error.get("code")), one_line(error.get("message"), 300)
    reason = graph_errors.find_reason_code(code) if code else ""
    if reason == "wa_token" or status == 401:
        sentence = _("The access token is not valid or has expired. Create a new one and enter it. (%(words)s)")
    elif reason == "wa_permission" or status == 403:
        sentence = _("The access token has no access to this account. It needs both WhatsApp permissions. (%(words)s)")
    elif name not in (NUMBER, ACCOUNT, APPS) and status == 404:
        warning = _("The provider does not report the number's status. Ask its support. (%(words)s)")
        yield AccountFinding(level="warning", sentence=str(warning) % {"words": words or f"HTTP {status}"})
        return
    elif name == NUMBER:
        sentence = _("There is no such phone number ID for this access token. (%(words)s)")
    elif name == ACCOUNT:
        sentence = _("There is no such WhatsApp Business account for this access token. (%(words)s)")
    else:
        sentence = _("Could not read the webhook subscriptions. (%(words)s)")
    yield AccountFinding(level="error", sentence=str(sentence) % {"words": words or f"HTTP {status}"})


def read_number_findings(body: Mapping[str, Any]) -> Iterator[AccountFinding]:
    """Yield the findings about a number, without a comparison of its rate with the settings."""
    yield from _read_number(body, per_second=0)


def _read_number(body: Mapping[str, Any], *, per_second: float) -> Iterator[AccountFinding]:
    number = one_line(body.get("display_phone_number"), 40)
    name = one_line(body.get("verified_name"), 100)
    quality = one_line(body.get("quality_rating"), 20).upper()
    limit = one_line(
        body.get("whatsapp_business_manager_messaging_limit") or body.get("messaging_limit_tier"), 40
    ).upper()
    status = one_line(body.get("status"), 40).upper()
    throughput = body.get("throughput")
    rate = one_line(throughput.get("level") if isinstance(throughput, dict) else "", 40)
    facts = {"number": number, "name": name, "quality": quality, "limit": limit, "status": status, "throughput": rate}
    yield AccountFinding(
        level="ok",
        sentence=_("The number is %(number)s, shown to clients as “%(name)s”.")
        % {"number": number, "name": name or "?"},
        facts={key: value for key, value in facts.items() if value},
    )
    if quality in QUALITY:
        level = {"RED": "error", "YELLOW": "warning"}.get(quality, "ok")
        yield AccountFinding(
            level=level, sentence=_("The number's quality rating is %(quality)s.") % {"quality": QUALITY[quality]}
        )
    if limit:
        sentence = _("Number of clients that you can write to first in 24 hours: %(limit)s.")
        yield AccountFinding(level="ok", sentence=sentence % {"limit": LIMITS.get(limit, limit)})
    yield from _compare_rate(rate.upper(), per_second=per_second)
    if status and status not in ("CONNECTED", "ONLINE"):
        yield AccountFinding(
            level="error",
            sentence=_("The number is not connected (%(status)s). Register it in WhatsApp Manager.")
            % {"status": status},
        )
    if body.get("name_status") in ("DECLINED", "EXPIRED", "NONE"):
        yield AccountFinding(
            level="warning", sentence=_("The display name is not approved. Clients see only the number.")
        )
    if body.get("code_verification_status") not in (None, "", "VERIFIED"):
        yield AccountFinding(level="warning", sentence=_("The number's ownership has not been verified by code."))


def _compare_rate(level: str, *, per_second: float) -> Iterator[AccountFinding]:
    """Yield a finding if the rate in the settings differs from the provider's limit."""
    allowed = MESSAGES_PER_SECOND.get(level)
    values = {"allowed": allowed, "set": f"{per_second:g}"}
    if allowed is not None and per_second > allowed:
        sentence = _(
            "The number can send %(allowed)d messages per second, but the settings allow %(set)s. Lower the setting."
        )
        yield AccountFinding(level="warning", sentence=sentence % values)
    elif allowed == MESSAGES_PER_SECOND["HIGH"] and per_second <= MESSAGES_PER_SECOND["STANDARD"]:
        sentence = _("The number can send %(allowed)d messages per second. The settings allow only %(set)s.")
        yield AccountFinding(level="ok", sentence=sentence % values)


def _read_numbers(body: Mapping[str, Any], *, number_id: str) -> Iterator[AccountFinding]:
    """Yield an error if the account does not hold the number: templates and updates would be another account's."""
    rows, paging = body.get("data"), body.get("paging")
    ids = {as_text(row.get("id")) for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    is_all = not (isinstance(paging, dict) and paging.get("next"))
    if ids and is_all and number_id not in ids:
        sentence = _("The phone number ID does not belong to this WhatsApp Business account ID.")
        yield AccountFinding(level="error", sentence=sentence)


def _read_account(body: Mapping[str, Any]) -> Iterator[AccountFinding]:
    name = one_line(body.get("name"), 200)
    yield AccountFinding(level="ok", sentence=_("The account is “%(name)s”.") % {"name": name}, facts={"account": name})
    review = one_line(body.get("account_review_status"), 40).upper()
    if review and review != "APPROVED":
        yield AccountFinding(
            level="error", sentence=_("WhatsApp has not approved the account (%(status)s).") % {"status": review}
        )


def _read_apps(body: Mapping[str, Any]) -> Iterator[AccountFinding]:
    apps = body.get("data")
    names = [_app_name(app) for app in apps if isinstance(app, dict)] if isinstance(apps, list) else []
    if names:
        listed = ", ".join(filter(None, names)) or "?"
        sentence = _("Webhooks go to: %(names)s.") % {"names": listed}
        yield AccountFinding(level="ok", sentence=sentence, facts={"subscribed": listed})
        return
    yield AccountFinding(
        level="error",
        sentence=_(
            "No app is subscribed to the account, so no webhooks are sent. Subscribe your app in its dashboard."
        ),
        facts={"subscribed": "no"},
    )


def _app_name(app: Mapping[str, Any]) -> str:
    inner = app.get("whatsapp_business_api_data")
    return one_line((inner if isinstance(inner, dict) else app).get("name"), 100)
