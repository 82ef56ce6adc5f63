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
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.content.validation import REVIEWERS_REJECT, validate
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template
from templates_registry.provider import submission

MAX_PROVIDER_CALLS = 20  # of one press of a button: each waits for the provider
REMOVED = (Status.ARCHIVED, Status.DELETED)
PRESENT = tuple(status for status in Status if status not in REMOVED)


@dataclass(frozen=True, kw_only=True)
class TemplateAction:
    """One action on templates. An empty ``target_status`` restores the previous one.

    ``confirm_text``: question on the intermediate page.
    """

    slug: str
    label: str | Promise
    target_status: str
    allowed_statuses: Sequence[str]  # the statuses in which it makes sense
    success_text: str | Promise = ""
    confirm_text: str | Promise = ""
    needs_reason: bool = False
    is_primary: bool = False
    provider_call: Callable[..., str] | None = (
        None  # where the provider takes templates from us, this is what is done there
    )


ACTIONS = {
    action.slug: action
    for action in (
        TemplateAction(
            slug="submit",
            label=gettext_lazy("Send for approval"),
            target_status=Status.PENDING,
            allowed_statuses=(Status.DRAFT, Status.REJECTED),
            success_text=gettext_lazy(
                "Marked as sent. Give the text to the provider; approval usually takes 1–2 days."
            ),
            is_primary=True,
            provider_call=submission.submit_template,
        ),
        TemplateAction(
            slug="approve",
            label=gettext_lazy("Mark as approved"),
            target_status=Status.APPROVED,
            allowed_statuses=(Status.DRAFT, Status.PENDING, Status.REJECTED, Status.IN_APPEAL, Status.UNKNOWN),
            success_text=gettext_lazy("Operators can now send this template."),
            is_primary=True,
        ),
        TemplateAction(
            slug="reject",
            label=gettext_lazy("Mark as rejected…"),
            target_status=Status.REJECTED,
            allowed_statuses=(Status.PENDING, Status.IN_APPEAL, Status.UNKNOWN),
            confirm_text=gettext_lazy(
                "Enter the provider's reason. Operators and admins will see it with the template."
            ),
            needs_reason=True,
        ),
        TemplateAction(
            slug="pause",
            label=gettext_lazy("Pause"),
            target_status=Status.PAUSED,
            allowed_statuses=(Status.APPROVED,),
            success_text=gettext_lazy(
                "Operators can no longer choose this template. Pending messages with it fail with an explanation."
            ),
        ),
        TemplateAction(
            slug="resume",
            label=gettext_lazy("Resume"),
            target_status=Status.APPROVED,
            allowed_statuses=(Status.PAUSED,),
            success_text=gettext_lazy("Operators can now send this template."),
            is_primary=True,
        ),
        TemplateAction(
            slug="archive", label=gettext_lazy("Archive"), target_status=Status.ARCHIVED, allowed_statuses=PRESENT
        ),
        TemplateAction(
            slug="restore",
            label=gettext_lazy("Restore"),
            target_status="",
            allowed_statuses=REMOVED,
            success_text=gettext_lazy("The previous status is restored."),
            is_primary=True,
        ),
        TemplateAction(
            slug="delete-at-provider",
            label=gettext_lazy("Delete at the provider…"),
            target_status=Status.DELETED,
            allowed_statuses=tuple(status for status in Status if status not in submission.DELETED_STATUSES),
            confirm_text=gettext_lazy(
                "The provider deletes this language version, and it can no longer be sent. If it was approved, its "
                "name cannot be reused for 30 days. The texts and the history are kept in Okno."
            ),
            provider_call=submission.delete_template,
        ),
        TemplateAction(
            slug="delete",
            label=gettext_lazy("Delete…"),
            target_status=Status.DELETED,
            allowed_statuses=tuple(status for status in Status if status != Status.DELETED),
            confirm_text=gettext_lazy(
                "The template is removed from all lists and can no longer be sent. Texts and history are kept, and it "
                "can be restored."
            ),
        ),
    )
}


@dataclass
class ActionResult:
    """Which templates it was done to, and why to others not."""

    changed: list[Template] = field(default_factory=list)
    refused: list[tuple[Template, str]] = field(default_factory=list)
    sent_to_provider: list[Template] = field(default_factory=list)  # of those done: at the provider, by us
    remarks: list[tuple[Template, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        count = len(self.changed)
        if count == 1:
            template = self.changed[0]
            return _("Done: %(name)s (%(language)s).") % {"name": template.name, "language": template.language}
        return ngettext("Done for %d template.", "Done for %d templates.", count) % count


def available_actions(template: Template) -> list[TemplateAction]:
    """Return the actions that this template allows now."""
    return [
        action
        for action in ACTIONS.values()
        if template.status in action.allowed_statuses and _applies_to(action, template)
    ]


def _applies_to(action: TemplateAction, template: Template) -> bool:
    """Whether it is to be done here or at the provider, and by whose word."""
    if not submission.may_manage(template.api_channel):
        return action.slug != "delete-at-provider"
    if action.slug in ("approve", "reject"):
        return False  # the provider says it itself
    return action.slug not in ("delete", "delete-at-provider") or (
        action.slug == "delete-at-provider"
    ) == submission.exists_at_provider(template)


def perform_action(
    action: TemplateAction, templates: Iterable[Template], *, user: Any, reason: str = ""
) -> ActionResult:
    result = ActionResult()
    for template in templates:
        if why := _why_not_allowed(action, template):
            result.refused.append((template, why))
        elif action.provider_call and submission.may_manage(template.api_channel):
            _call_provider(action.provider_call, template, result, user=user)
        else:
            to = action.target_status or _previous_status(template)
            lifecycle.change_status(template, to, by=ChangeAuthor(source=Source.MANUAL, user=user), reason=reason)
            result.changed.append(template)
    return result


def _call_provider(call: Callable[..., str], template: Template, result: ActionResult, *, user: Any) -> None:
    if len(result.sent_to_provider) + len(result.refused) >= MAX_PROVIDER_CALLS:
        result.refused.append(
            (template, _("The provider accepts at most %d templates at a time.") % MAX_PROVIDER_CALLS)
        )
        return
    try:
        remark = call(template, user=user)
    except submission.SubmissionRefused as problem:
        result.refused.append((template, problem.sentence))
        return
    result.changed.append(template)
    result.sent_to_provider.append(template)
    if remark:
        result.remarks.append((template, remark))


def review_warnings(action: TemplateAction, templates: Iterable[Template]) -> list[tuple[Template, list[str]]]:
    """What the provider's reviewers usually reject, before it is handed in."""
    if action.slug != "submit":
        return []
    found = []
    for template in templates:
        problems = [] if _why_not_allowed(action, template) else validate(template.pattern)
        said = [str(problem.sentence) for problem in problems if problem.code in REVIEWERS_REJECT]
        if said:
            found.append((template, said))
    return found


def _why_not_allowed(action: TemplateAction, template: Template) -> str:
    if template.status not in action.allowed_statuses:
        return _("This action is not available while the template is %(status)s.") % {
            "status": template.get_status_display()
        }
    if not _applies_to(action, template):
        return _("This action is not available for templates on %(channel)s.") % {"channel": template.api_channel}
    if action.target_status not in (Status.PENDING, Status.APPROVED):
        return ""
    try:
        problems = validate(template.pattern)
    except InvalidTemplate as problem:
        return str(problem.sentence)
    if action.target_status == Status.APPROVED and template.pattern.body:
        return ""  # what the provider has approved is approved
    errors = [str(problem.sentence) for problem in problems if problem.level is Level.ERROR]
    return " ".join(errors)


def _previous_status(template: Template) -> str:
    event = template.events.filter(what="status", to_status=template.status).first()
    before = event.from_status if event else ""
    if submission.may_manage(template.api_channel) and not template.external_id:
        return Status.DRAFT  # the provider does not have it any more
    return before if before in PRESENT else Status.DRAFT
