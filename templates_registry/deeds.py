"""What an admin does to templates by hand: send for approval, mark approved or rejected, pause, archive…

For a provider without a list (its staff approve by message) this is how the registry learns; for one with a list it
is a word that the next fetch confirms or corrects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import lifecycle
from .components import Level
from .graph import NotATemplate
from .lifecycle import By, Source
from .models import Status, Template
from .validating import REVIEWERS_REJECT, validate

GONE = (Status.ARCHIVED, Status.DELETED)
ALIVE = tuple(status for status in Status if status not in GONE)


@dataclass(frozen=True, kw_only=True)
class Deed:
    """``to`` empty: back to where it was. ``sure``: what an intermediate page says before it is done."""

    slug: str
    label: str | Promise
    to: str
    where: Sequence[str]  # the statuses in which it makes sense
    done: str | Promise = ""
    sure: str | Promise = ""
    asks_reason: bool = False
    main: bool = False


DEEDS = {
    deed.slug: deed
    for deed in (
        Deed(
            slug="submit",
            label=gettext_lazy("Send for approval"),
            to=Status.PENDING,
            where=(Status.DRAFT, Status.REJECTED),
            done=gettext_lazy("Noted. Hand the text to the provider; approval usually takes 1–2 days."),
            main=True,
        ),
        Deed(
            slug="approve",
            label=gettext_lazy("Mark as approved"),
            to=Status.APPROVED,
            where=(Status.DRAFT, Status.PENDING, Status.REJECTED, Status.IN_APPEAL, Status.UNKNOWN),
            done=gettext_lazy("Operators can send it from now on."),
            main=True,
        ),
        Deed(
            slug="reject",
            label=gettext_lazy("Mark as rejected…"),
            to=Status.REJECTED,
            where=(Status.PENDING, Status.IN_APPEAL, Status.UNKNOWN),
            sure=gettext_lazy("What did the provider write? Operators and admins will read it beside the template."),
            asks_reason=True,
        ),
        Deed(
            slug="pause",
            label=gettext_lazy("Pause"),
            to=Status.PAUSED,
            where=(Status.APPROVED,),
            done=gettext_lazy("It leaves the pickers. What waits to be sent with it stops and says why."),
        ),
        Deed(
            slug="resume",
            label=gettext_lazy("Resume"),
            to=Status.APPROVED,
            where=(Status.PAUSED,),
            done=gettext_lazy("Operators can send it from now on."),
            main=True,
        ),
        Deed(slug="archive", label=gettext_lazy("Archive"), to=Status.ARCHIVED, where=ALIVE),
        Deed(
            slug="restore",
            label=gettext_lazy("Bring back"),
            to="",
            where=GONE,
            done=gettext_lazy("It has the status that it had before."),
            main=True,
        ),
        Deed(
            slug="delete",
            label=gettext_lazy("Delete…"),
            to=Status.DELETED,
            where=tuple(status for status in Status if status != Status.DELETED),
            sure=gettext_lazy(
                "It leaves every list and can no longer be sent. Its texts and its history are kept, and it can be "
                "brought back."
            ),
        ),
    )
}


@dataclass
class Done:
    """Which templates it was done to, and why to others not."""

    done: list[Template] = field(default_factory=list)
    refused: list[tuple[Template, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        count = len(self.done)
        return ngettext("Done for %d template.", "Done for %d templates.", count) % count


def fitting(template: Template) -> list[Deed]:
    """The deeds that make sense for this template now."""
    return [deed for deed in DEEDS.values() if template.status in deed.where]


def do(deed: Deed, templates: Iterable[Template], *, user: Any, reason: str = "") -> Done:
    result = Done()
    for template in templates:
        if why := _refusal(deed, template):
            result.refused.append((template, why))
            continue
        to = deed.to or _before(template)
        lifecycle.change_status(template, to, by=By(source=Source.HAND, user=user), reason=reason)
        result.done.append(template)
    return result


def warnings(deed: Deed, templates: Iterable[Template]) -> list[tuple[Template, list[str]]]:
    """What the provider's reviewers usually reject, before it is handed in."""
    if deed.slug != "submit":
        return []
    found = []
    for template in templates:
        problems = [] if _refusal(deed, template) else validate(template.pattern)
        said = [str(problem.sentence) for problem in problems if problem.code in REVIEWERS_REJECT]
        if said:
            found.append((template, said))
    return found


def _refusal(deed: Deed, template: Template) -> str:
    if template.status not in deed.where:
        return _("It is %(status)s, so this makes no sense.") % {"status": template.get_status_display()}
    if deed.to not in (Status.PENDING, Status.APPROVED):
        return ""
    try:
        problems = validate(template.pattern)
    except NotATemplate as problem:
        return str(problem.sentence)
    if deed.to == Status.APPROVED and template.pattern.body:
        return ""  # what the provider has approved is approved
    errors = [str(problem.sentence) for problem in problems if problem.level is Level.ERROR]
    return " ".join(errors)


def _before(template: Template) -> str:
    event = template.events.filter(what="status", to_status=template.status).first()
    before = event.from_status if event else ""
    return before if before in ALIVE else Status.DRAFT
