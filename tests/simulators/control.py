"""Control API of the Meta simulator: ``/_simulator/<action>``, JSON in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulators.errors import GraphError
from tests.simulators.phones import Phone

if TYPE_CHECKING:
    from tests.simulators.graph import ApiCall
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


def answer(meta: MetaSimulator, call: ApiCall) -> Any:
    name = call.path.partition("/")[2]
    if call.method == "GET":
        if name not in VIEWS:
            raise GraphError(
                100, f"GET /_simulator/ {', '.join(VIEWS)}; POST /_simulator/ {', '.join(ACTIONS)}", status=404
            )
        return VIEWS[name](meta)
    if name not in ACTIONS:
        raise GraphError(100, f"POST /_simulator/ {', '.join(ACTIONS)}", status=404)
    try:
        return ACTIONS[name](meta, dict(call.json))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise GraphError(100, f"{type(problem).__name__}: {problem}") from problem


# --- views (GET) ---


def state(meta: MetaSimulator) -> Json:
    return {
        "url": meta.url,
        "media_url": meta.media_url,
        "webhook_url": meta.webhook_sender.url,
        "behavior": meta.switches.as_json(),
        "phones": {phone.number: {"name": phone.name, "user_id": phone.user_id} for phone in meta.phones.values()},
        "clock_ahead_seconds": meta.ahead,
        "webhooks": {"posted": len(meta.webhook_sender.posted), "waiting": len(meta.webhook_sender.waiting)},
        "seed": meta.seed,
    }


def sent(meta: MetaSimulator) -> list[Json]:
    """Return the messages that the simulator accepted, with their statuses."""
    return [
        {"id": each.id, "to": each.to.number, "kind": each.kind, "text": each.text, "key": each.key}
        | {"statuses": each.statuses, "body": each.body}
        for each in meta.sent
    ]


def calls(meta: MetaSimulator) -> list[Json]:
    """Return all calls of the portal, without headers, which hold the token."""
    return [
        {"method": each.method, "path": each.path, "query": each.query, "body": each.body.decode("utf-8", "replace")}
        for each in list(meta.api_calls)
    ]


def posted(meta: MetaSimulator) -> list[Json]:
    return [
        {"status": each.status, "seconds": round(each.seconds, 3), "tries": each.tries, "body": each.body.decode()}
        for each in list(meta.webhook_sender.posted)
    ]


VIEWS = {"": state, "sent": sent, "calls": calls, "posted": posted}


# --- actions (POST) ---


def phone_of(meta: MetaSimulator, body: Json) -> Phone:
    number = str(body.pop("from"))
    name = body.pop("name", "Анна")
    return meta.phone(number, name=name)


def behave(meta: MetaSimulator, body: Json) -> Json:
    meta.behave(times=body.pop("times", None), **body)
    return meta.switches.as_json()


def writes(meta: MetaSimulator, body: Json) -> Json:
    """Let a client write. Keys: ``from``, ``text``; optional ``name``, ``reply_to``, ``forwarded``, ``count``."""
    phone, text, count = phone_of(meta, body), body.pop("text"), int(body.pop("count", 1))
    ids = [phone.writes(text if count == 1 else f"{text} {number + 1}", **body) for number in range(count)]
    return {"ids": ids}


def sends(meta: MetaSimulator, body: Json) -> Json:
    """Let a client send any message type. Keys: ``from``, ``type``, ``content`` as in Meta's webhook."""
    phone = phone_of(meta, body)
    return {"ids": [phone.sends(body.pop("type"), body.pop("content", None), **body)]}


def reads(meta: MetaSimulator, body: Json) -> Json:
    phone_of(meta, body).reads(body.get("id", ""))
    return {}


def reacts(meta: MetaSimulator, body: Json) -> Json:
    return {"ids": [phone_of(meta, body).reacts(body.get("emoji", ""), to=body["to"])]}


def later(meta: MetaSimulator, body: Json) -> Json:
    meta.later(hours=float(body.get("hours", 0)), seconds=float(body.get("seconds", 0)))
    return {"clock_ahead_seconds": meta.ahead}


def connect(meta: MetaSimulator, body: Json) -> Json:
    return {"verified": meta.connect(body["url"], verify_token=body.get("verify_token"))}


def template(meta: MetaSimulator, body: Json) -> Json:
    """Add a template. Keys: ``name``; optional ``language``, ``body`` or ``components``, ``status``, ``category``."""
    return meta.add_template(body.pop("name"), **body).row()


def review(meta: MetaSimulator, body: Json) -> Json:
    """Change a template's status and post the webhook. Keys: ``id``, ``event``; optional ``reason``."""
    found = meta.templates.rows[str(body.pop("id"))]
    meta.review(found, body.pop("event"), **body)
    return found.row()


def account(meta: MetaSimulator, body: Json) -> Json:
    """Post any account-level webhook. Keys: ``field``, ``value``."""
    meta.send_account_update(body["field"], body["value"])
    return {}


def token(meta: MetaSimulator, body: Json) -> Json:
    """Replace the access token. Calls with the old one fail with code 190. Key: ``access_token``."""
    meta.access_token = str(body["access_token"])
    return {}


ACTIONS = {
    each.__name__: each
    for each in (behave, writes, sends, reads, reacts, later, connect, template, review, account, token)
}
