"""Account calls of the Graph API: number, WhatsApp Business account (WABA), webhook subscription, templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulators.errors import GraphError
from tests.simulators.templates import MEDIA_HEADERS, Template

if TYPE_CHECKING:
    from tests.simulators.graph import ApiCall
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


def answer(meta: MetaSimulator, call: ApiCall) -> Json:
    owner, _, edge = call.path.partition("/")
    if owner == meta.phone_number_id and call.method == "GET" and not edge:
        return select_fields(number(meta), call, default=("verified_name", "display_phone_number", "quality_rating"))
    if owner == meta.waba_id:
        return answer_waba(meta, call, edge)
    if template := meta.templates.rows.get(owner):
        return answer_template(meta, call, template, edge)
    words = "does not exist, cannot be loaded due to missing permissions, or does not support this operation"
    raise GraphError(100, f"Unsupported request. Object with ID '{owner}' {words}", subcode=33)


def select_fields(node: Json, call: ApiCall, *, default: tuple[str, ...]) -> Json:
    """Return the ``?fields=`` of the call, and the ID. Raises GraphError for unknown fields, as Meta does."""
    names = [word.split("{")[0] for word in call.query.get("fields", "").split(",") if word] or list(default)
    for name in names:
        if name not in node:
            raise GraphError(100, f"Tried accessing nonexisting field ({name})")
    return {name: node[name] for name in dict.fromkeys((*names, "id"))}


def number(meta: MetaSimulator) -> Json:
    digits = meta.display_number
    return {
        "id": meta.phone_number_id,
        "display_phone_number": f"+{digits[0]} {digits[1:4]}-{digits[4:7]}-{digits[7:]}",
        "verified_name": meta.name,
        "quality_rating": meta.quality,
        "messaging_limit_tier": meta.tier,
        "whatsapp_business_manager_messaging_limit": meta.tier,
        "code_verification_status": "VERIFIED",
        "name_status": "APPROVED",
        "platform_type": "CLOUD_API",
        "status": "CONNECTED",
        "account_mode": "LIVE",
        "throughput": {"level": "STANDARD"},
        "health_status": health(),
        "is_official_business_account": False,
        "webhook_configuration": {"application": meta.webhook_sender.url},
    }


def health() -> Json:
    entities = [{"entity_type": kind, "can_send_message": "AVAILABLE"} for kind in ("PHONE_NUMBER", "WABA", "APP")]
    return {"can_send_message": "AVAILABLE", "entities": entities}


def waba(meta: MetaSimulator) -> Json:
    return {
        "id": meta.waba_id,
        "name": meta.name,
        "currency": "USD",
        "timezone_id": "1",
        "account_review_status": "APPROVED",
        "business_verification_status": "verified",
        "message_template_namespace": "11111111_2222_3333_4444_555555555555",
        "ownership_type": "CLIENT_OWNED",
        "status": "ACTIVE",
        "health_status": health(),
        "whatsapp_business_manager_messaging_limit": meta.tier,
    }


def answer_waba(meta: MetaSimulator, call: ApiCall, edge: str) -> Json:
    match call.method, edge:
        case "GET", "":
            return select_fields(waba(meta), call, default=("name", "timezone_id", "message_template_namespace"))
        case "GET", "phone_numbers":
            default = ("verified_name", "display_phone_number", "quality_rating")
            return {"data": [select_fields(number(meta), call, default=default)]}
        case _, "subscribed_apps":
            return subscription(meta, call)
        case "GET", "message_templates":
            return meta.templates.page(call.query, url=f"{meta.url}/{call.version or 'v25.0'}/{call.path}")
        case "POST", "message_templates":
            return create(meta, call)
        case "DELETE", "message_templates":
            query = call.query
            meta.templates.delete(name=query.get("name", ""), hsm_id=query.get("hsm_id", ""), now=meta.now())
            return {"success": True}
    raise GraphError(100, f"Unknown path components: /{edge}")


def subscription(meta: MetaSimulator, call: ApiCall) -> Json:
    if call.method == "GET":
        app = {
            "id": "300000000000801",
            "name": "Okno",
            "link": "https://www.facebook.com/games/?app_id=300000000000801",
        }
        row: Json = {"whatsapp_business_api_data": app}
        if meta.webhook_sender.url:
            row["override_callback_uri"] = meta.webhook_sender.url
        return {"data": [row] if meta.subscribed else []}
    if call.method == "POST" and call.body:
        body = call.json
        if url := body.get("override_callback_uri"):
            before = meta.webhook_sender.url
            if not meta.connect(url, verify_token=str(body.get("verify_token") or "")):
                meta.webhook_sender.url = before
                raise GraphError(2200, "Callback verification failed: the challenge did not come back.")
    meta.subscribed = call.method == "POST"
    return {"success": True}


def check_sample(meta: MetaSimulator, row: Json) -> None:
    for component in row.get("components") or []:
        if str(component.get("type")).upper() == "HEADER" and component.get("format") in MEDIA_HEADERS:
            handles = (component.get("example") or {}).get("header_handle") or [""]
            if handles[0] not in meta.media.samples:
                raise GraphError(100, "The header's example is no handle of an uploaded file.", subcode=2388273)


def create(meta: MetaSimulator, call: ApiCall) -> Json:
    check_sample(meta, call.json)
    template = meta.templates.add(call.json, status="PENDING", now=meta.now())
    match meta.switches.take("review"):
        case "approve":
            meta.review(template, "APPROVED")
        case "reject":
            meta.review(template, "REJECTED", reason="INCORRECT_CATEGORY")
    return {"id": template.id, "status": "PENDING", "category": template.category}


def answer_template(meta: MetaSimulator, call: ApiCall, template: Template, edge: str) -> Json:
    match call.method, edge:
        case "GET", "":
            return select_fields(template.row(), call, default=tuple(template.row()))
        case "POST", "unpause":
            if template.status != "PAUSED":
                raise GraphError(100, "The template is not paused.")
            meta.review(template, "APPROVED", other_info={"title": "UNPAUSED", "description": "Unpaused."})
            return {"success": True}
        case "POST", "":
            check_sample(meta, call.json)
            meta.templates.edit(template, call.json, now=meta.now())
            if (verdict := meta.switches.take("review")) != "wait":
                meta.review(template, "APPROVED" if verdict == "approve" else "REJECTED")
            return {"success": True}
    raise GraphError(100, f"Unknown path components: /{edge}")
