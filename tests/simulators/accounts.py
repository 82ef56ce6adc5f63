"""The account in the Graph API: the number, the WABA, its subscription, its templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulators.errors import GraphError
from tests.simulators.templates import MEDIA_HEADERS, Template

if TYPE_CHECKING:
    from tests.simulators.graph import Called
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


def answer(meta: MetaSimulator, called: Called) -> Json:
    owner, _, edge = called.path.partition("/")
    if owner == meta.phone_number_id and called.method == "GET" and not edge:
        return chosen(number(meta), called, default=("verified_name", "display_phone_number", "quality_rating"))
    if owner == meta.waba_id:
        return waba_edge(meta, called, edge)
    if template := meta.templates.rows.get(owner):
        return on_template(meta, called, template, edge)
    words = "does not exist, cannot be loaded due to missing permissions, or does not support this operation"
    raise GraphError(100, f"Unsupported request. Object with ID '{owner}' {words}", subcode=33)


def chosen(node: Json, called: Called, *, default: tuple[str, ...]) -> Json:
    """``?fields=``: those and the id, an unknown one refused as Graph does."""
    wanted = [word.split("{")[0] for word in called.query.get("fields", "").split(",") if word] or list(default)
    for word in wanted:
        if word not in node:
            raise GraphError(100, f"Tried accessing nonexisting field ({word})")
    return {word: node[word] for word in dict.fromkeys((*wanted, "id"))}


def number(meta: MetaSimulator) -> Json:
    shown = meta.display_number
    return {
        "id": meta.phone_number_id,
        "display_phone_number": f"+{shown[0]} {shown[1:4]}-{shown[4:7]}-{shown[7:]}",
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


def waba_edge(meta: MetaSimulator, called: Called, edge: str) -> Json:
    match called.method, edge:
        case "GET", "":
            return chosen(waba(meta), called, default=("name", "timezone_id", "message_template_namespace"))
        case "GET", "phone_numbers":
            default = ("verified_name", "display_phone_number", "quality_rating")
            return {"data": [chosen(number(meta), called, default=default)]}
        case _, "subscribed_apps":
            return subscription(meta, called)
        case "GET", "message_templates":
            return meta.templates.page(called.query, url=f"{meta.url}/{called.version or 'v25.0'}/{called.path}")
        case "POST", "message_templates":
            return create(meta, called)
        case "DELETE", "message_templates":
            query = called.query
            meta.templates.delete(name=query.get("name", ""), hsm_id=query.get("hsm_id", ""), now=meta.now())
            return {"success": True}
    raise GraphError(100, f"Unknown path components: /{edge}")


def subscription(meta: MetaSimulator, called: Called) -> Json:
    if called.method == "GET":
        app = {
            "id": "300000000000801",
            "name": "Okno",
            "link": "https://www.facebook.com/games/?app_id=300000000000801",
        }
        row: Json = {"whatsapp_business_api_data": app}
        if meta.webhook_sender.url:
            row["override_callback_uri"] = meta.webhook_sender.url
        return {"data": [row] if meta.subscribed else []}
    if called.method == "POST" and called.body:
        told = called.json
        if url := told.get("override_callback_uri"):
            before = meta.webhook_sender.url
            if not meta.connect(url, verify_token=str(told.get("verify_token") or "")):
                meta.webhook_sender.url = before
                raise GraphError(2200, "Callback verification failed: the challenge did not come back.")
    meta.subscribed = called.method == "POST"
    return {"success": True}


def sample_is_known(meta: MetaSimulator, row: Json) -> None:
    for component in row.get("components") or []:
        if str(component.get("type")).upper() == "HEADER" and component.get("format") in MEDIA_HEADERS:
            handles = (component.get("example") or {}).get("header_handle") or [""]
            if handles[0] not in meta.media.samples:
                raise GraphError(100, "The header's example is no handle of an uploaded file.", subcode=2388273)


def create(meta: MetaSimulator, called: Called) -> Json:
    sample_is_known(meta, called.json)
    template = meta.templates.add(called.json, status="PENDING", now=meta.now())
    match meta.switches.take("review"):
        case "approve":
            meta.review(template, "APPROVED")
        case "reject":
            meta.review(template, "REJECTED", reason="INCORRECT_CATEGORY")
    return {"id": template.id, "status": "PENDING", "category": template.category}


def on_template(meta: MetaSimulator, called: Called, template: Template, edge: str) -> Json:
    match called.method, edge:
        case "GET", "":
            return chosen(template.row(), called, default=tuple(template.row()))
        case "POST", "unpause":
            if template.status != "PAUSED":
                raise GraphError(100, "The template is not paused.")
            meta.review(template, "APPROVED", other_info={"title": "UNPAUSED", "description": "Unpaused."})
            return {"success": True}
        case "POST", "":
            sample_is_known(meta, called.json)
            meta.templates.edit(template, called.json, now=meta.now())
            if (verdict := meta.switches.take("review")) != "wait":
                meta.review(template, "APPROVED" if verdict == "approve" else "REJECTED")
            return {"success": True}
    raise GraphError(100, f"Unknown path components: /{edge}")
