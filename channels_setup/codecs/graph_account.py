"""What the Graph API says of an account when it is asked: who it is, how it stands, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from . import graph_errors
from .bodies import BadBody, json_object
from .graph_people import one_line
from .values import as_text

NUMBER, ACCOUNT, APPS = "number", "account", "apps"
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


@dataclass(frozen=True, kw_only=True)
class Found:
    """``level`` is ok, warning or error; ``facts`` is what to remember."""

    level: str
    sentence: str | Promise
    facts: Mapping[str, str] = field(default_factory=dict)


def questions(*, number_id: str, account_id: str) -> dict[str, tuple[str, str]]:
    """Name -> path and fields."""
    asked = {}
    if number_id:
        asked[NUMBER] = (number_id, NUMBER_FIELDS)
    if account_id:
        asked[ACCOUNT] = (account_id, "id,name,currency,account_review_status")
        asked[APPS] = (f"{account_id}/subscribed_apps", "")
    return asked


def findings(answers: Mapping[str, tuple[int, bytes] | None]) -> Iterator[Found]:
    read = {NUMBER: _number, ACCOUNT: _account, APPS: _apps}
    for name, answer in answers.items():
        if answer is None:
            yield Found(level="error", sentence=_("The provider cannot be reached, or did not answer in time."))
            return
        status, raw = answer
        try:
            body = json_object(raw)
        except BadBody:
            body = {}
        if status >= 300 or "error" in body or not body:
            yield _refused(name, status, body)
        else:
            yield from read[name](body)


def _refused(name: str, status: int, body: Mapping[str, Any]) -> Found:
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    code, words = as_text(error.get("code")), one_line(error.get("message"), 300)
    reason = graph_errors.reason_of(code) if code else ""
    if reason == "wa_token" or status == 401:
        sentence = _("The access token is not valid or has run out: make a new one and enter it. (%(words)s)")
    elif reason == "wa_permission" or status == 403:
        sentence = _("The access token may not see this account: it needs both WhatsApp permissions. (%(words)s)")
    elif name == NUMBER:
        sentence = _("There is no such phone number ID for this access token. (%(words)s)")
    elif name == ACCOUNT:
        sentence = _("There is no such WhatsApp Business account for this access token. (%(words)s)")
    else:
        sentence = _("Whether webhooks are subscribed could not be seen. (%(words)s)")
    return Found(level="error", sentence=str(sentence) % {"words": words or f"HTTP {status}"})


def _number(body: Mapping[str, Any]) -> Iterator[Found]:
    shown = one_line(body.get("display_phone_number"), 40)
    name = one_line(body.get("verified_name"), 100)
    quality = one_line(body.get("quality_rating"), 20).upper()
    limit = one_line(
        body.get("whatsapp_business_manager_messaging_limit") or body.get("messaging_limit_tier"), 40
    ).upper()
    status = one_line(body.get("status"), 40).upper()
    throughput = body.get("throughput")
    speed = one_line(throughput.get("level") if isinstance(throughput, dict) else "", 40)
    facts = {"number": shown, "name": name, "quality": quality, "limit": limit, "status": status, "throughput": speed}
    yield Found(
        level="ok",
        sentence=_("The number is %(number)s, shown to clients as “%(name)s”.")
        % {"number": shown, "name": name or "?"},
        facts={key: value for key, value in facts.items() if value},
    )
    if quality in QUALITY:
        level = {"RED": "error", "YELLOW": "warning"}.get(quality, "ok")
        yield Found(level=level, sentence=_("Its quality is %(quality)s.") % {"quality": QUALITY[quality]})
    if limit:
        told = {"limit": LIMITS.get(limit, limit)}
        yield Found(level="ok", sentence=_("Clients written to first, in 24 hours, at most: %(limit)s.") % told)
    if status and status not in ("CONNECTED", "ONLINE"):
        yield Found(
            level="error",
            sentence=_("The number is not connected (%(status)s): register it in WhatsApp Manager.")
            % {"status": status},
        )
    if body.get("name_status") in ("DECLINED", "EXPIRED", "NONE"):
        yield Found(level="warning", sentence=_("The display name is not approved: clients see the number alone."))
    if body.get("code_verification_status") not in (None, "", "VERIFIED"):
        yield Found(level="warning", sentence=_("The number's ownership has not been verified by code."))


def _account(body: Mapping[str, Any]) -> Iterator[Found]:
    name = one_line(body.get("name"), 200)
    yield Found(level="ok", sentence=_("The account is “%(name)s”.") % {"name": name}, facts={"account": name})
    review = one_line(body.get("account_review_status"), 40).upper()
    if review and review != "APPROVED":
        yield Found(
            level="error", sentence=_("WhatsApp has not approved the account (%(status)s).") % {"status": review}
        )


def _apps(body: Mapping[str, Any]) -> Iterator[Found]:
    apps = body.get("data")
    names = [_app_name(app) for app in apps if isinstance(app, dict)] if isinstance(apps, list) else []
    if names:
        told = {"names": ", ".join(filter(None, names)) or "?"}
        facts = {"subscribed": told["names"]}
        yield Found(level="ok", sentence=_("Webhooks go to: %(names)s.") % told, facts=facts)
        return
    yield Found(
        level="error",
        sentence=_(
            "No app is subscribed to the account, so no webhook will come: subscribe it in the app's dashboard."
        ),
        facts={"subscribed": "no"},
    )


def _app_name(app: Mapping[str, Any]) -> str:
    inner = app.get("whatsapp_business_api_data")
    return one_line((inner if isinstance(inner, dict) else app).get("name"), 100)
