"""Admin's actions on templates: send for approval, mark as approved or rejected, pause, archive, delete…

An admin records here what a provider without a template list has decided. If the provider has a list, the next
synchronization confirms or corrects the status. If the provider accepts submissions, the action calls it
(``submission``).
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

MAX_PROVIDER_CALLS = 20  # per request, because each call waits for the provider
REMOVED = (Status.ARCHIVED, Status.DELETED)
PRESENT = tuple(status for status in Status if status not in REMOVED)


@dataclass(frozen=True, kw_only=True)
class TemplateAction:
    """One action on templates. An empty ``target_status`` restores the previous status.

    ``confirm_text`` is shown on an intermediate page. ``provider_call`` is called instead of the change of status if
    the provider accepts submissions; it returns a remark or an empty string.
    """

    slug: str
    label: str | Promise
    target_status: str
    allowed_statuses: Sequence[str]
    success_text: str | Promise = ""
    confirm_text: str | Promise = ""
    needs_reason: bool = False
    is_primary: bool = False
    provider_call: Callable[..., str] | None = None


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
    """Templates that an action changed, and those that it refused, with the reason."""

    changed: list[Template] = field(default_factory=list)
    refused: list[tuple[Template, str]] = field(default_factory=list)
    sent_to_provider: list[Template] = field(default_factory=list)  # the changed ones that the provider accepted
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
    """Return whether the action exists for the template's provider, whatever its status."""
    if not submission.may_manage(template.api_channel):
        return action.slug != "delete-at-provider"
    if action.slug in ("approve", "reject"):
        return False  # the provider reports its decision itself
    return action.slug not in ("delete", "delete-at-provider") or (
        action.slug == "delete-at-provider"
    ) == submission.exists_at_provider(template)


def perform_action(
    action: TemplateAction, templates: Iterable[Template], *, user: Any, reason: str = ""
) -> ActionResult:
    """Apply an action to each template. ``reason`` is stored with the change of status."""
    result = ActionResult()
    for template in templates:
        if refusal := _refusal(action, template):
            result.refused.append((template, refusal))
        elif action.provider_call and submission.may_manage(template.api_channel):
            _call_provider(action.provider_call, template, result, user=user)
        else:
            status = action.target_status or _previous_status(template)
            lifecycle.change_status(template, status, by=ChangeAuthor(source=Source.MANUAL, user=user), reason=reason)
            result.changed.append(template)
    return result


def _call_provider(call: Callable[..., str], template: Template, result: ActionResult, *, user: Any) -> None:
    if len(result.sent_to_provider) + len(result.refused) >= MAX_PROVIDER_CALLS:
        sentence = _("Only %d templates can be processed at the provider at a time. Repeat the action for this one.")
        result.refused.append((template, sentence % MAX_PROVIDER_CALLS))
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
    """Return templates with texts that WhatsApp's reviewers usually reject, each with the warnings."""
    if action.slug != "submit":
        return []
    found = []
    for template in templates:
        problems = [] if _refusal(action, template) else validate(template.definition)
        sentences = [str(problem.sentence) for problem in problems if problem.code in REVIEWERS_REJECT]
        if sentences:
            found.append((template, sentences))
    return found


def _refusal(action: TemplateAction, template: Template) -> str:
    """Return why the action is not available for a template, or an empty string."""
    if template.status not in action.allowed_statuses:
        return _("This action is not available while the template is %(status)s.") % {
            "status": template.get_status_display()
        }
    if not _applies_to(action, template):
        return _("This action is not available for templates on %(channel)s.") % {"channel": template.api_channel}
    if action.target_status not in (Status.PENDING, Status.APPROVED):
        return ""
    try:
        problems = validate(template.definition)
    except InvalidTemplate as problem:
        return str(problem.sentence)
    if action.target_status == Status.APPROVED and template.definition.body:
        return ""  # approved by the provider, whatever our validation says
    errors = [str(problem.sentence) for problem in problems if problem.level is Level.ERROR]
    return " ".join(errors)


def _previous_status(template: Template) -> str:
    """Return the status to restore: the one before the template was archived or deleted, or draft."""
    event = template.events.filter(kind="status", to_status=template.status).first()
    before = event.from_status if event else ""
    if submission.may_manage(template.api_channel) and not template.external_id:
        return Status.DRAFT  # the provider no longer has it
    return before if before in PRESENT else Status.DRAFT
