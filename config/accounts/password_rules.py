"""Password validators in addition to Django's, which check similarity, length and common passwords."""

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

REPEATED_TEXT = re.compile(r"(.{1,6}?)\1+.{0,2}", re.DOTALL)


class LetterRequiredValidator:
    """Require a letter: dates and phone numbers are guessed first, in any notation."""

    def validate(self, password: str, user: object = None) -> None:
        if not any(character.isalpha() for character in password):
            raise ValidationError(self.get_help_text(), code="password_without_letters")

    def get_help_text(self) -> str:
        return _("The password must contain a letter.")


class RepeatedTextValidator:
    """Refuse repetitions of a short text, which are as weak as the text itself."""

    def validate(self, password: str, user: object = None) -> None:
        if REPEATED_TEXT.fullmatch(password[:128].casefold()):
            raise ValidationError(self.get_help_text(), code="password_repeats")

    def get_help_text(self) -> str:
        return _("The password must not consist of the same repeated characters.")
