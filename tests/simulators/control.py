"""The simulator's own desk, for whoever runs it as a process: ``/_simulator/<what>``, JSON in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulators.errors import GraphError
from tests.simulators.phones import Phone

if TYPE_CHECKING:
    from tests.simulators.graph import Called
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


def answer(meta: MetaSimulator, called: Called) -> Any:
    what = called.path.partition("/")[2]
    if called.method == "GET":
        if what not in LOOKS:
            raise GraphError(
                100, f"GET /_simulator/ {', '.join(LOOKS)}; POST /_simulator/ {', '.join(DEEDS)}", status=404
            )
        return LOOKS[what](meta)
    if what not in DEEDS:
        raise GraphError(100, f"POST /_simulator/ {', '.join(DEEDS)}", status=404)
    try:
        return DEEDS[what](meta, dict(called.json))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise GraphError(100, f"{type(problem).__name__}: {problem}") from problem


# --- to look at ---


def state(meta: MetaSimulator) -> Json:
    return {
        "url": meta.url,
        "media_url": meta.media_url,
        "webhook_url": meta.webhook_sender.url,
        "behaviour": meta.switches.as_json(),
        "phones": {phone.number: {"name": phone.name, "user_id": phone.user_id} for phone in meta.phones.values()},
        "clock_ahead_seconds": meta.ahead,
        "webhooks": {"posted": len(meta.webhook_sender.posted), "waiting": len(meta.webhook_sender.waiting)},
        "seed": meta.seed,
    }


def sent(meta: MetaSimulator) -> list[Json]:
    """What the portal sent and Meta took, with what became of it."""
    return [
        {"id": each.id, "to": each.to.number, "kind": each.kind, "text": each.text, "key": each.key}
        | {"statuses": each.statuses, "body": each.body}
        for each in meta.sent
    ]


def calls(meta: MetaSimulator) -> list[Json]:
    """Every call of the portal; the token is not shown."""
    shown = [*meta.api_calls]
    return [
        {"method": each.method, "path": each.path, "query": each.query, "body": each.body.decode("utf-8", "replace")}
        for each in shown
    ]


def posted(meta: MetaSimulator) -> list[Json]:
    return [
        {"status": each.status, "seconds": round(each.seconds, 3), "tries": each.tries, "body": each.body.decode()}
        for each in list(meta.webhook_sender.posted)
    ]


LOOKS = {"": state, "sent": sent, "calls": calls, "posted": posted}


# --- to do ---


def phone_of(meta: MetaSimulator, told: Json) -> Phone:
    number = str(told.pop("from"))
    name = told.pop("name", "Анна")
    return meta.phone(number, name=name)


def behave(meta: MetaSimulator, told: Json) -> Json:
    meta.behave(times=told.pop("times", None), **told)
    return meta.switches.as_json()


def writes(meta: MetaSimulator, told: Json) -> Json:
    """``from``, ``text``, and optionally ``name``, ``reply_to``, ``forwarded``, ``count`` (as many in a row)."""
    phone, text, count = phone_of(meta, told), told.pop("text"), int(told.pop("count", 1))
    ids = [phone.writes(text if count == 1 else f"{text} {number + 1}", **told) for number in range(count)]
    return {"ids": ids}


def sends(meta: MetaSimulator, told: Json) -> Json:
    """Any type: ``from``, ``type``, ``content`` as in Meta's webhook."""
    phone = phone_of(meta, told)
    return {"ids": [phone.sends(told.pop("type"), told.pop("content", None), **told)]}


def reads(meta: MetaSimulator, told: Json) -> Json:
    phone_of(meta, told).reads(told.get("id", ""))
    return {}


def reacts(meta: MetaSimulator, told: Json) -> Json:
    return {"ids": [phone_of(meta, told).reacts(told.get("emoji", ""), to=told["to"])]}


def later(meta: MetaSimulator, told: Json) -> Json:
    meta.later(hours=float(told.get("hours", 0)), seconds=float(told.get("seconds", 0)))
    return {"clock_ahead_seconds": meta.ahead}


def connect(meta: MetaSimulator, told: Json) -> Json:
    return {"verified": meta.connect(told["url"], verify_token=told.get("verify_token"))}


def template(meta: MetaSimulator, told: Json) -> Json:
    """``name`` and optionally ``language``, ``body`` or ``components``, ``status``, ``category``."""
    return meta.add_template(told.pop("name"), **told).row()


def review(meta: MetaSimulator, told: Json) -> Json:
    """``id``, ``event`` and optionally ``reason``."""
    found = meta.templates.rows[str(told.pop("id"))]
    meta.review(found, told.pop("event"), **told)
    return found.row()


def account(meta: MetaSimulator, told: Json) -> Json:
    """``field``, ``value``: any account-level webhook."""
    meta.send_account_update(told["field"], told["value"])
    return {}


def token(meta: MetaSimulator, told: Json) -> Json:
    """Another ``access_token``: the one before is refused with 190."""
    meta.access_token = str(told["access_token"])
    return {}


DEEDS = {
    each.__name__: each
    for each in (behave, writes, sends, reads, reacts, later, connect, template, review, account, token)
}
