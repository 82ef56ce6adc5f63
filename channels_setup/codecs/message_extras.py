"""Sentences, in the reader's language, for everything in a message besides the client's own words.

``MessageExtras`` (see ``facts``) holds codes and values; ``compose_text`` turns them into sentences on reading. Its key
``own`` holds the client's own part of the text, where the portal adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import get_language, gettext, pgettext
from django.utils.translation import gettext_noop as _

from .values import as_text

MessageExtras = Mapping[str, Any]

WITHOUT_WORDS = ("call", "welcome", "unsupported", "unreadable", "empty")
UNSUPPORTED = {
    "poll_creation": _("The client sent a poll. WhatsApp does not forward polls."),
    "poll_update": _("The client voted in a poll. WhatsApp does not forward votes."),
    "event": _("The client sent an event invitation. WhatsApp does not forward these."),
    "event_creation": _("The client sent an event invitation. WhatsApp does not forward these."),
    "gif": _("The client sent a GIF that WhatsApp does not forward."),
    "group_invite": _("The client sent an invitation to a group. WhatsApp does not forward these."),
    "pin": _("The client pinned a message. WhatsApp does not say which."),
    "live_location": _("The client is sharing their live location. WhatsApp does not forward it."),
    "view_once": _("The client sent a photo or video to be viewed once. WhatsApp does not forward these."),
    "payment": _("The client sent a payment. WhatsApp does not forward these."),
    "unavailable": _("The client sent a message that WhatsApp could not forward. Ask them to send it again."),
}
MISSING = {
    "image": _("The client sent a picture, but it did not arrive. Ask them to send it again."),
    "video": _("The client sent a video, but it did not arrive. Ask them to send it again."),
    "audio": _("The client sent a voice or audio message, but it did not arrive. Ask them to send it again."),
    "document": _("The client sent a document, but it did not arrive. Ask them to send it again."),
    "sticker": _("The client sent a sticker, but it did not arrive."),
    "location": _("The client sent a location, but it did not arrive. Ask them to send it again."),
    "contacts": _("The client sent a contact card, but it did not arrive. Ask them to send it again."),
    "order": _("The client sent an order, but it did not arrive. Ask them to send it again."),
}
NO_DETAILS = frozenset(("131051",))  # "not supported": the sentence already says so
SIGNS = {"RUB": "₽", "USD": "$", "EUR": "€", "GBP": "£", "KZT": "₸", "UAH": "₴", "INR": "₹", "ILS": "₪", "TRY": "₺"}
BEFORE = frozenset("$€£₹₪")  # written before the amount in English


def compose_text(text: str, shown: MessageExtras, *, plain_amounts: bool = False) -> str:
    """Return the whole message in the active language; ``text`` is the stored text.

    ``plain_amounts`` writes prices as the provider gave them, without currency signs.
    """
    what = as_text(shown.get("what"))
    if "edited_at" in shown or not shown:
        return text
    if what in WITHOUT_WORDS:
        return "\n".join(filter(None, _list_sentences(what, shown)))
    if "own" not in shown:
        return text
    own = as_text(shown["own"])
    lines = [own]
    if what == "order":
        lines = [own or gettext("Order"), *_order_words(shown, plain_amounts=plain_amounts)]
    elif what == "flow":
        lines = [own or gettext("Form"), *(f"{name}: {value}" for name, value in _list_fields(shown))]
    if product := as_text(_get_object(shown, "product").get("product")):
        lines.append(gettext("About the product %(product)s") % {"product": product})
    return "\n".join(filter(None, lines))


def compose_own_text(text: str, shown: MessageExtras) -> str:
    """Return the text of a message whose order or form is shown separately as a table or card."""
    what = as_text(shown.get("what"))
    if what == "welcome":
        return compose_text(text, {"what": what})
    if what not in ("order", "flow") or "edited_at" in shown:
        return compose_text(text, shown)
    if "own" in shown:
        return as_text(shown["own"])
    # Without "own", drop the lines that the table shows.
    rows = len(_get_lines(shown) if what == "order" else list(_list_fields(shown)))
    return "\n".join(text.split("\n")[:-rows]) if rows else text


def describe_ad(shown: MessageExtras) -> str:
    """Describe in one line the ad that a message came from; empty if there is none."""
    ad = _get_object(shown, "ad")
    description = " — ".join(dict.fromkeys(filter(None, (as_text(ad.get(part)) for part in ("headline", "body")))))
    description = description or as_text(ad.get("url"))
    return gettext("From the advertisement: %(ad)s") % {"ad": description} if description else ""


def _list_sentences(what: str, shown: MessageExtras) -> Iterator[str]:
    kind = as_text(shown.get("kind"))
    if what == "call":
        yield gettext("The client called")
    elif what == "empty":
        yield gettext("The client sent an empty message.")
    elif what == "welcome":
        yield gettext("The client opened the chat and has not written yet.")
        yield describe_ad(shown)
    elif what == "unreadable":
        yield gettext(MISSING.get(kind, _("The client sent a message, but its content did not arrive.")))
    else:
        known = UNSUPPORTED.get(kind)
        if known:
            yield gettext(known)
        elif kind and kind not in ("unsupported", "unknown"):
            yield gettext("The client sent a message that WhatsApp does not forward. Its type: %(kind)s.") % {
                "kind": kind
            }
        else:
            yield gettext("The client sent a message of a type that WhatsApp does not forward.")
        yield _provider_words(shown, is_known=known is not None)


def _provider_words(shown: MessageExtras, *, is_known: bool) -> str:
    """Return the provider's own description, if it adds anything to the sentence."""
    code = as_text(shown.get("code"))
    description = as_text(shown.get("details")) or as_text(shown.get("title"))
    if not description or code in NO_DETAILS:
        return ""
    return "" if is_known and not code else f"{description} ({code})" if code else description


# --- orders and forms ------------------------------------------------------------------------------------


def _order_words(shown: MessageExtras, *, plain_amounts: bool) -> Iterator[str]:
    if not plain_amounts:
        yield from (" · ".join(filter(None, pair)) for pair in describe_order_lines(shown))
        return
    for line in _get_lines(shown):
        price = " ".join(filter(None, (as_text(line.get("price")), as_text(line.get("currency")))))
        yield f"{as_text(line.get('product'))} × {as_text(line.get('quantity'))} · {price}".strip(" ·")


def describe_order_lines(shown: MessageExtras) -> Iterator[tuple[str, str]]:
    """Yield each product with its quantity and price, then the total."""
    total, currencies = Decimal(0), set[str]()
    rows = _get_lines(shown)
    for line in rows:
        quantity, price = as_text(line.get("quantity")), as_text(line.get("price"))
        currency = as_text(line.get("currency"))
        yield f"{as_text(line.get('product'))} × {quantity}", format_amount(price, currency)
        costs = _parse_decimal(price), _parse_decimal(quantity)
        currencies.add("" if costs[0] is None or costs[1] is None else currency)
        total += (costs[0] or 0) * (costs[1] or 0)
    is_one_price = len(rows) == 1 and as_text(rows[0].get("quantity")) == "1"
    if len(currencies) == 1 and "" not in currencies and not is_one_price:
        yield pgettext("of an order", "Total"), format_amount(str(total), currencies.pop())


def format_amount(price: str, currency: str) -> str:
    """Format a price in the active language: 4500 and RUB as 4 500 ₽."""
    number = _parse_decimal(price)
    if number is None:
        return " ".join(filter(None, (price, currency)))
    shown = number_format(abs(number), 0 if number == number.to_integral_value() else 2, force_grouping=True)
    sign = "−" if number < 0 else ""
    symbol = SIGNS.get(currency.upper(), currency)
    if (get_language() or "").startswith("en") and symbol in BEFORE:
        return f"{sign}{symbol}{shown}"
    return f"{sign}{shown}\xa0{symbol}".strip("\xa0")


def _parse_decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < 10**12 else None


def _get_lines(shown: MessageExtras) -> list[Mapping[str, Any]]:
    lines = shown.get("lines")
    return [line for line in lines if isinstance(line, Mapping)] if isinstance(lines, list) else []


def _list_fields(shown: MessageExtras) -> Iterator[tuple[str, str]]:
    fields = shown.get("fields")
    for field in fields if isinstance(fields, list) else []:
        if isinstance(field, list | tuple) and len(field) == 2:
            yield as_text(field[0]), as_text(field[1])


def _get_object(shown: MessageExtras, key: str) -> Mapping[str, Any]:
    value = shown.get(key)
    return value if isinstance(value, Mapping) else {}
