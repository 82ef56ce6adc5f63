"""Guess of a client's language, for the order of templates: by their last messages, our last template, or the phone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from bridge.conversations import contact_links
from bridge.models import Conversation, Message

MESSAGES_READ = 10  # newest messages of the chat
MIN_LETTERS = 3  # letters of a text in one alphabet; fewer say nothing ("ok")
SYLLABIC = ("ja", "ko", "zh")  # one sign is enough

# The first group with a letter of the text decides. Letters of one language come before the script that it shares.
LETTERS: Mapping[str, re.Pattern[str]] = {
    "be": re.compile("[ў]"),
    "kk": re.compile("[әғқңөұүһ]"),
    "uk": re.compile("[іїєґ]"),
    "ru": re.compile("[а-яё]"),
    "he": re.compile("[א-ת]"),
    "fa": re.compile("[پچژگ]"),
    "ar": re.compile("[ء-ي]"),
    "el": re.compile("[α-ω]"),
    "ka": re.compile("[ა-ჰ]"),
    "hi": re.compile("[ऄ-ह]"),
    "th": re.compile("[ก-ฮ]"),
    "ja": re.compile("[ぁ-ヿ]"),
    "ko": re.compile("[가-힣]"),
    "zh": re.compile("[一-鿿]"),
}
LATIN = re.compile("[a-zà-öø-ÿąćęłńśźżğışčěřůžőű]")
# Frequent words tell languages in Latin script apart. English is the guess without any.
WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset("the is are you my i to and please hello hi thanks order when have".split()),
    "es": frozenset("el los las que por favor hola gracias mi pedido cuándo está para con una".split()),
    "pt": frozenset("os que por favor olá obrigado obrigada meu pedido quando está você não uma".split()),
    "de": frozenset("der die das ist und ich bitte hallo danke wann meine nicht bestellung wo".split()),
    "fr": frozenset("le les est et je bonjour merci quand ma commande pas vous une mon".split()),
    "it": frozenset("il che per favore ciao grazie quando ordine non sono una mio dove".split()),
    "tr": frozenset("ve bir merhaba teşekkürler ne zaman sipariş nerede için lütfen".split()),
    "pl": frozenset("jest nie dzień dobry dziękuję proszę kiedy moje zamówienie czy gdzie".split()),
    "id": frozenset("yang saya apa kapan terima kasih halo pesanan tidak bisa dan".split()),
}
# Country codes, the longest first. Countries with several languages are left out.
PHONES: Mapping[str, str] = {
    **{"77": "kk", "76": "kk", "7": "ru", "380": "uk", "375": "ru", "49": "de", "43": "de", "33": "fr", "39": "it"},
    **{"34": "es", "52": "es", "54": "es", "57": "es", "351": "pt", "55": "pt", "90": "tr", "48": "pl", "62": "id"},
    **{"1": "en", "44": "en", "61": "en", "972": "he", "971": "ar", "966": "ar", "20": "ar", "30": "el", "995": "ka"},
    **{"81": "ja", "82": "ko", "86": "zh", "66": "th", "98": "fa"},
}


def guess_language(conversation: Conversation) -> str:
    """Return the code of the client's language ("ru"), or "" if nothing tells. One query."""
    rows = Message.objects.filter(conversation=conversation).exclude(direction=Message.Direction.NOTICE)
    found = list(rows.order_by("-pk").values_list("direction", "text", "template")[:MESSAGES_READ])
    texts = [text for direction, text, _template in found if direction == Message.Direction.INBOUND]
    if language := guess_from_texts(texts):
        return language
    sent = (template["language"] for _direction, _text, template in found if template and template.get("language"))
    return str(next(sent, ""))[:2] or guess_from_phone(contact_links.display_id(conversation.contact))


def guess_from_texts(texts: Iterable[str]) -> str:
    """Return the language of the newest text that tells one, or "". ``texts``: newest first."""
    return next(filter(None, map(_guess_from_text, texts)), "")


def _guess_from_text(text: str) -> str:
    lower = text.casefold()
    for language, letters in LETTERS.items():
        script = LETTERS["ru"] if language in ("uk", "kk", "be") else letters
        if letters.search(lower) and len(script.findall(lower)) >= (1 if language in SYLLABIC else MIN_LETTERS):
            return language
    if len(LATIN.findall(lower)) < MIN_LETTERS:
        return ""
    words = Counter(word for word in re.findall(r"[^\W\d_]+", lower))
    scores = {language: sum(words[word] for word in own) for language, own in WORDS.items()}
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] else "en" if len(words) > 1 else ""


def guess_from_phone(phone: str) -> str:
    """Return the language of the phone's country, or ""."""
    digits = re.sub(r"\D", "", phone)
    return next((PHONES[digits[:length]] for length in (3, 2, 1) if digits[:length] in PHONES), "")
