"""Password rules besides Django's own. Names, length and well-known passwords are checked by those."""

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

REPEATED_TEXT = re.compile(r"(.{1,6}?)\1+.{0,2}", re.DOTALL)


class LetterRequiredValidator:
    """Refuse digits and signs alone: dates and phone numbers are guessed first, however they are written."""

    def validate(self, password: str, user: object = None) -> None:
        if not any(character.isalpha() for character in password):
            raise ValidationError(self.get_help_text(), code="password_without_letters")

    def get_help_text(self) -> str:
        return _("The password must contain a letter.")


class RepeatedTextValidator:
    """Refuse one short word or sign over and over, which is as weak as the word itself."""

    def validate(self, password: str, user: object = None) -> None:
        if REPEATED_TEXT.fullmatch(password[:128].casefold()):
            raise ValidationError(self.get_help_text(), code="password_repeats")

    def get_help_text(self) -> str:
        return _("The password must not repeat the same characters over and over.")
