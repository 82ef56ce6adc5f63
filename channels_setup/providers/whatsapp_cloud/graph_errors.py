"""Error codes of the Graph API: the verdict and the reason of each.

Only the code and the details decide, never the HTTP status or the title. The sentences are in ``reasons``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorMeaning:
    """Verdict (see ``providers.base``) and reason of an error code. The other fields are those of ``Outcome``."""

    verdict: str
    reason: str
    whole_channel: bool = False
    retry_after: float | None = None  # seconds
    contact_backoff_base: float | None = None


def _map_codes(codes: Iterable[int], meaning: ErrorMeaning) -> dict[str, ErrorMeaning]:
    return {str(code): meaning for code in codes}


CODES: Mapping[str, ErrorMeaning] = {
    # The channel is paused until an admin fixes it.
    **_map_codes((0, 190), ErrorMeaning("pause", "wa_token")),
    **_map_codes((3, 10, *range(200, 300), 131005), ErrorMeaning("pause", "wa_permission")),
    **_map_codes((131031, 368), ErrorMeaning("pause", "wa_account_locked")),
    **_map_codes((131037, 131042, 131045), ErrorMeaning("pause", "wa_account_setup")),
    **_map_codes((133000, *range(133005, 133011), 133015, 133016), ErrorMeaning("pause", "wa_registration")),
    **_map_codes((131048,), ErrorMeaning("pause", "wa_spam_limit")),
    # Retried automatically.
    **_map_codes((1, 2, 131000, 131016, 133004), ErrorMeaning("retry", "wa_busy")),
    **_map_codes((4, 80007), ErrorMeaning("retry", "wa_call_limit", whole_channel=True, retry_after=300)),
    **_map_codes((130429,), ErrorMeaning("retry", "wa_throughput", whole_channel=True, retry_after=5)),
    **_map_codes((131057, 2494100), ErrorMeaning("retry", "wa_maintenance", whole_channel=True, retry_after=60)),
    **_map_codes((131056,), ErrorMeaning("retry", "wa_pair_limit", contact_backoff_base=4)),
    **_map_codes((132069,), ErrorMeaning("retry", "wa_flow_busy")),
    # This message can never be sent.
    **_map_codes((33, 100, 131008, 131009, 131021, 131051, 135000), ErrorMeaning("permanent", "wa_invalid_request")),
    **_map_codes((130403,), ErrorMeaning("permanent", "wa_blocked_by_us")),
    **_map_codes((130472,), ErrorMeaning("permanent", "wa_experiment")),
    **_map_codes((130497,), ErrorMeaning("permanent", "wa_country")),
    **_map_codes((131026,), ErrorMeaning("permanent", "wa_undeliverable")),
    **_map_codes((131030,), ErrorMeaning("permanent", "wa_test_number")),
    **_map_codes((131047,), ErrorMeaning("permanent", "wa_window_closed")),
    **_map_codes((131049,), ErrorMeaning("permanent", "wa_marketing_limit")),
    **_map_codes((131050,), ErrorMeaning("permanent", "wa_marketing_stopped")),
    **_map_codes((131052,), ErrorMeaning("permanent", "wa_client_file_failed")),
    **_map_codes((131053,), ErrorMeaning("permanent", "wa_file_rejected")),
    **_map_codes((131060,), ErrorMeaning("permanent", "wa_unavailable")),
    **_map_codes((131062,), ErrorMeaning("permanent", "wa_needs_phone")),
    **_map_codes((131063,), ErrorMeaning("permanent", "wa_marketing_off")),
    # The template cannot be used now, or must be corrected.
    **_map_codes((131064,), ErrorMeaning("permanent", "wa_categories_limit")),
    **_map_codes((132000, 132008, 132012, 132018), ErrorMeaning("permanent", "wa_template_values")),
    **_map_codes((132001,), ErrorMeaning("permanent", "wa_template_unknown")),
    **_map_codes((132005,), ErrorMeaning("permanent", "wa_template_too_long")),
    **_map_codes((132007,), ErrorMeaning("permanent", "wa_template_policy")),
    **_map_codes((132015,), ErrorMeaning("permanent", "wa_template_paused")),
    **_map_codes((132016,), ErrorMeaning("permanent", "wa_template_disabled")),
    **_map_codes((132068,), ErrorMeaning("permanent", "wa_flow_blocked")),
}
NEW_LINE_IN_VALUE = "new-line"  # in the details of this error, which Meta reports under several codes
NEW_LINE_CODES = ("100", "132000", "132018")
UNKNOWN_ERROR = ErrorMeaning("permanent", "provider_failed")


def find_meaning(code: str, details: str = "") -> ErrorMeaning:
    if NEW_LINE_IN_VALUE in details and code in NEW_LINE_CODES:
        return CODES["132018"]
    return CODES.get(code, UNKNOWN_ERROR)


def find_reason_code(code: str, details: str = "") -> str:
    return find_meaning(code, details).reason
