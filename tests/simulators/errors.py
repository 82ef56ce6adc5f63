"""Errors of the Graph API, with the titles from Meta's documentation."""

from __future__ import annotations

import secrets
from typing import Any

HREF = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"

# Code -> HTTP status and title. Meta advises to rely on code and details only.
CODES: dict[int, tuple[int, str]] = {
    0: (401, "AuthException"),
    1: (400, "API Unknown"),
    2: (503, "API Service"),
    4: (400, "API Too Many Calls"),
    10: (403, "Permission Denied"),
    33: (400, "Parameter value is not valid"),
    100: (400, "Invalid parameter"),
    190: (401, "Access token has expired"),
    200: (403, "API Permission"),
    368: (403, "Temporarily blocked for policies violations"),
    80007: (400, "Rate limit issues"),
    130403: (400, "Recipient blocked by business"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User's number is part of an experiment"),
    130497: (403, "Business account is restricted from messaging users in this country."),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (500, "Service unavailable"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131030: (400, "Recipient phone number not in allowed list"),
    131031: (403, "Account has been locked"),
    131037: (400, "WhatsApp provided number needs display name approval before message can be sent."),
    131042: (400, "Business eligibility payment issue"),
    131045: (500, "Incorrect certificate"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "This message was not delivered to maintain healthy ecosystem engagement."),
    131050: (400, "User has stopped receiving marketing messages"),
    131051: (400, "Unsupported message type"),
    131052: (400, "Media download error"),
    131053: (400, "Media upload error"),
    131056: (400, "(Business Account, Consumer Account) pair rate limit hit"),
    131057: (500, "Account in maintenance mode"),
    131062: (400, "Business-scoped user ID is not allowed here"),
    131063: (400, "Marketing messages are disabled on Cloud API"),
    131064: (400, "Limited because of mis-categorised templates"),
    132000: (400, "Template Param Count Mismatch"),
    132001: (404, "Template name does not exist in the translation"),
    132005: (400, "Template Hydrated Text Too Long"),
    132007: (400, "Template Format Character Policy Violated"),
    132012: (400, "Template Parameter Format Mismatch"),
    132015: (400, "Template is Paused"),
    132016: (400, "Template is Disabled"),
    132018: (400, "There was an issue with the parameters in your template"),
    133004: (503, "Server Temporarily Unavailable"),
    133010: (400, "Phone number Not Registered"),
}
# For these codes Meta accepts the message first and reports the failure in a status webhook.
ASYNCHRONOUS_CODES = {130472, 131026, 131047, 131049, 131050, 131053}


class GraphError(Exception):
    def __init__(self, code: int, details: str = "", *, status: int | None = None, subcode: int | None = None) -> None:
        super().__init__(f"{code}: {details}")
        self.code, self.details, self.subcode = code, details, subcode
        default, self.title = CODES.get(code, (400, "Something went wrong"))
        self.status = status or default

    def build_response(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": f"(#{self.code}) {self.title}", "type": "OAuthException", "code": self.code}
        if self.code in (100, 131008) and self.details:
            error["message"] = f"(#{self.code}) {self.details}"
        if self.subcode is not None:
            error |= {"error_subcode": self.subcode, "error_user_title": self.title, "error_user_msg": self.details}
        if self.details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": self.details}
        return {"error": error | {"fbtrace_id": "A" + secrets.token_urlsafe(16)}}

    def build_status_error(self) -> dict[str, Any]:
        """Return the error as an element of ``errors`` in a webhook."""
        error = {"code": self.code, "title": self.title, "message": self.title}
        return error | {"error_data": {"details": self.details or self.title}, "href": HREF}
