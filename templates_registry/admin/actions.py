"""What an admin does to templates by hand: send for approval, mark approved or rejected, pause, archive…

For a provider without a list (its staff approve by message) this is how the registry learns; for one with a list it
is a word that the next fetch confirms or corrects. One that takes templates from us is told itself (``submission``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from templates_registry import lifecycle
from templates_registry.content.components import Level
from templates_registry.content.graph_format import NotATemplate
from templates_registry.content.validation import REVIEWERS_REJECT, validate
from templates_registry.lifecycle import By, Source
from templates_registry.models import Status, Template
from templates_registry.provider import submission

MOST_CALLS = 20  # of one press of a button: each waits for the provider
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
    tell: Callable[..., str] | None = None  # where the provider takes templates from us, this is what is done there


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
            tell=submission.submit,
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
            slug="delete-there",
            label=gettext_lazy("Delete at the provider…"),
            to=Status.DELETED,
            where=tuple(status for status in Status if status not in submission.GONE),
            sure=gettext_lazy(
                "The provider deletes it in this language, and nobody can send it any more. If it was approved, its "
                "name cannot be used again for 30 days. Its texts and its history are kept here."
            ),
            tell=submission.delete,
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
    told: list[Template] = field(default_factory=list)  # of those done: at the provider, by us
    remarks: list[tuple[Template, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        count = len(self.done)
        if count == 1:
            template = self.done[0]
            return _("Done: %(name)s (%(language)s).") % {"name": template.name, "language": template.language}
        return ngettext("Done for %d template.", "Done for %d templates.", count) % count


def fitting(template: Template) -> list[Deed]:
    """The deeds that make sense for this template now."""
    return [deed for deed in DEEDS.values() if template.status in deed.where and _suits(deed, template)]


def _suits(deed: Deed, template: Template) -> bool:
    """Whether it is to be done here or at the provider, and by whose word."""
    if not submission.may_manage(template.api_channel):
        return deed.slug != "delete-there"
    if deed.slug in ("approve", "reject"):
        return False  # the provider says it itself
    return deed.slug not in ("delete", "delete-there") or (deed.slug == "delete-there") == submission.is_there(template)


def do(deed: Deed, templates: Iterable[Template], *, user: Any, reason: str = "") -> Done:
    result = Done()
    for template in templates:
        if why := _refusal(deed, template):
            result.refused.append((template, why))
        elif deed.tell and submission.may_manage(template.api_channel):
            _tell(deed.tell, template, result, user=user)
        else:
            to = deed.to or _before(template)
            lifecycle.change_status(template, to, by=By(source=Source.HAND, user=user), reason=reason)
            result.done.append(template)
    return result


def _tell(tell: Callable[..., str], template: Template, result: Done, *, user: Any) -> None:
    if len(result.told) + len(result.refused) >= MOST_CALLS:
        result.refused.append((template, _("%d at a time can be dealt with at the provider.") % MOST_CALLS))
        return
    try:
        remark = tell(template, user=user)
    except submission.Refused as problem:
        result.refused.append((template, problem.sentence))
        return
    result.done.append(template)
    result.told.append(template)
    if remark:
        result.remarks.append((template, remark))


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
    if not _suits(deed, template):
        return _("This is not the way for a template of %(channel)s.") % {"channel": template.api_channel}
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
    if submission.may_manage(template.api_channel) and not template.external_id:
        return Status.DRAFT  # the provider does not have it any more
    return before if before in ALIVE else Status.DRAFT
