"""Password validators in addition to Django's, which check similarity, length and common passwords."""

import re

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

LOOKALIKES = str.maketrans("0134578@$!", "oleastbasi")
REPEATED_TEXT = re.compile(r"(.{1,6}?)\1+.{0,2}", re.DOTALL)


class LetterRequiredValidator:
    """Require a letter: dates and phone numbers are guessed first, in any notation."""

    def validate(self, password: str, user: object = None) -> None:
        if not any(character.isalpha() for character in password):
            raise ValidationError(self.get_help_text(), code="password_without_letters")

    def get_help_text(self) -> str:
        return _("The password must contain a letter.")


class LeakedPasswordValidator(CommonPasswordValidator):
    """Refuse simple variations of leaked passwords: other case, digits for letters, digits and signs around them.

    Needs no network: the list is Django's, the 20,000 most frequent passwords of several leaks.
    """

    def validate(self, password: str, user: object = None) -> None:
        plain = password.casefold().translate(LOOKALIKES)
        for variation in (password.casefold(), plain):
            core = variation.strip("0123456789!?.,_-*#$@ ")
            if core in self.passwords or core[::-1] in self.passwords:
                raise ValidationError(
                    _("This password is a variation of a leaked one. Choose another."), code="password_leaked"
                )

    def get_help_text(self) -> str:
        return _("The password must not be a variation of a leaked one, such as “P@ssw0rd1”.")


class RepeatedTextValidator:
    """Refuse repetitions of a short text, which are as weak as the text itself."""

    def validate(self, password: str, user: object = None) -> None:
        if REPEATED_TEXT.fullmatch(password[:128].casefold()):
            raise ValidationError(self.get_help_text(), code="password_repeats")

    def get_help_text(self) -> str:
        return _("The password must not consist of the same repeated characters.")
