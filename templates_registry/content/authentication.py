"""Standard texts of authentication templates, which WhatsApp writes itself.

WhatsApp does not return these texts and may change them. The ones here are close enough for the chat and the preview.
Other languages fall back to English.
"""

from __future__ import annotations

import re

CODE_LINK = re.compile(r"https?://(?:www\.)?whatsapp\.com/otp/", re.IGNORECASE)

# Language → code, security advice, expiry of the code.
TEXTS = {
    "en": (
        "*{{1}}* is your verification code.",
        "For your security, do not share this code.",
        "This code expires in %(minutes)s minutes.",
    ),
    "ru": (
        "Ваш код подтверждения: *{{1}}*.",
        "В целях безопасности никому не сообщайте этот код.",
        "Код действует %(minutes)s мин.",
    ),
    "es": (
        "Tu código de verificación es *{{1}}*.",
        "Por tu seguridad, no lo compartas.",
        "Este código caduca en %(minutes)s minutos.",
    ),
    "pt": (
        "Seu código de verificação é *{{1}}*.",
        "Para sua segurança, não compartilhe este código.",
        "Este código expira em %(minutes)s minutos.",
    ),
    "de": (
        "*{{1}}* ist dein Verifizierungscode.",
        "Teile diesen Code zu deiner Sicherheit nicht.",
        "Dieser Code läuft in %(minutes)s Minuten ab.",
    ),
    "fr": (
        "Votre code de vérification est *{{1}}*.",
        "Pour votre sécurité, ne le partagez pas.",
        "Ce code expire dans %(minutes)s minutes.",
    ),
}


def is_code_link(url: str) -> bool:
    """Tell whether a button's URL is the one that WhatsApp gives to buttons of authentication templates."""
    return bool(CODE_LINK.match(url))


def build_body(language: str, *, with_advice: bool) -> str:
    """Return the standard body, with the code as ``{{1}}``."""
    text, advice, _expiry = _texts(language)
    return f"{text} {advice}" if with_advice else text


def build_footer(language: str, minutes: object) -> str:
    """Return the standard footer, which says after how many minutes the code expires."""
    return _texts(language)[2] % {"minutes": minutes}


def _texts(language: str) -> tuple[str, str, str]:
    return TEXTS.get(language.replace("-", "_").split("_")[0].lower(), TEXTS["en"])
