"""Onboarding steps of an API channel, from draft to live, each with its state and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from . import account_settings
from .models import ApiChannel, ChannelState, Handover

DONE, CURRENT, PENDING, PROBLEM = "done", "now", "later", "trouble"  # CSS classes, too


@dataclass(frozen=True, kw_only=True)
class OnboardingStep:
    """One step. The first pending step becomes the current one."""

    title: str | Promise
    note: str | Promise = ""
    at: datetime | None = None
    state: str = PENDING


def list_steps(channel: ApiChannel) -> list[OnboardingStep]:
    """Return the steps of a channel in their order. Two queries."""
    found = [_watching_step(channel)]
    if channel.provider.needs_verification:
        found.append(_verification_step(channel))
    if channel.provider.needs_redirect_url and not channel.redirect_url:
        found.append(
            OnboardingStep(
                title=_("The Redirect URL is missing"),
                note=_("The provider gives it to you after the verification. Enter it in the form below."),
            )
        )
    handover = channel.handovers.first()
    if channel.provider.settings:
        found.extend(_account_steps(channel))
    elif handover is not None or not channel.provider.has_training_phone:
        found.extend(_handover_steps(channel, handover))
    if refused := _missing_key_step(channel):
        found.append(refused)
    if sample_at := channel.provider_status.get("sample_at"):
        found.append(
            OnboardingStep(
                title=_("Test webhook received: %(name)s") % {"name": channel.provider_status.get("sample", "")},
                note=_("Sent with the “Test” button on the provider's page. It does not open a chat."),
                at=datetime.fromisoformat(sample_at),
                state=DONE,
            )
        )
    found.append(
        _fact_step(
            channel.first_inbound_at,
            _("First message from a client received"),
            _("No message from a client received yet"),
            note=_("Write to the WhatsApp number. The message appears in Chats."),
        )
    )
    found.append(
        _fact_step(
            channel.first_outbound_at,
            _("First reply sent"),
            _("No reply sent yet"),
            note=_("Reply in Chats. The reply goes to the provider's Redirect URL.")
            if channel.provider.needs_redirect_url
            else _("Reply in Chats."),
        )
    )
    return _mark_current(found)


def _fact_step(at: datetime | None, done: str, waiting: str, *, note: str = "", done_note: str = "") -> OnboardingStep:
    return (
        OnboardingStep(title=done, note=done_note, at=at, state=DONE)
        if at
        else OnboardingStep(title=waiting, note=note)
    )


def _watching_step(channel: ApiChannel) -> OnboardingStep:
    watched = list(channel.watched.all())
    if not watched:
        return OnboardingStep(
            title=_("Watches no chat channel"),
            note=_("Incoming messages cannot be stored. Choose a chat channel below."),
            state=PROBLEM,
        )
    return OnboardingStep(
        title=_("Watches %(names)s")
        % {"names": ", ".join(_("“%(name)s”") % {"name": chat_channel.name} for chat_channel in watched)},
        note=""
        if channel.provider.settings
        else _("Chat ID for the provider: %(ids)s")
        % {"ids": ", ".join(str(chat_channel.pk) for chat_channel in watched)},
        at=channel.created_at,
        state=DONE,
    )


def _verification_step(channel: ApiChannel) -> OnboardingStep:
    state = channel.paused_from if channel.state == ChannelState.PAUSED else channel.state
    if state == ChannelState.DRAFT:
        return OnboardingStep(
            title=_("The company has not been submitted for verification"),
            note=_(
                "Verification takes about 2–3 weeks. Press the button when you have sent the documents to the provider."
            ),
        )
    if state == ChannelState.VERIFYING and channel.verifying_since:
        days = (timezone.now() - channel.verifying_since).days
        return OnboardingStep(
            title=_("Waiting for verification"),
            note=_("Day %(day)d. Verification usually takes 2–3 weeks.") % {"day": days + 1},
            at=channel.verifying_since,
            state=CURRENT,
        )
    return OnboardingStep(title=_("Verification complete"), state=DONE)


def _account_steps(channel: ApiChannel) -> list[OnboardingStep]:
    """Return the steps of a provider with account settings: settings, connection check and webhook address."""
    missing = account_settings.missing_settings(channel)
    names = ", ".join(str(setting.label) for setting in missing)
    incomplete = OnboardingStep(
        title=_("Missing account settings: %(names)s") % {"names": names},
        note=_("Enter them in the form below, then check the connection."),
    )
    checked_at, handshake_at = (channel.provider_status.get(name) for name in ("checked_at", "handshake_at"))
    number = " · ".join(filter(None, (channel.provider_status.get(name) for name in ("number", "name"))))
    return [
        incomplete if missing else OnboardingStep(title=_("The account settings are complete"), state=DONE),
        _fact_step(
            datetime.fromisoformat(checked_at) if checked_at else None,
            _("Account connected: %(number)s") % {"number": number} if number else _("Account checked"),
            _("Account not checked yet"),
            note=_("Press “Check the connection” to read the account's data and see what is missing."),
        ),
        _refusal_step(channel)
        or _fact_step(
            datetime.fromisoformat(handshake_at) if handshake_at else channel.first_inbound_at,
            _("The provider has verified the webhook address"),
            _("The webhook address has not been verified yet"),
            note=_("Enter the address and the verify token, or the secret header, in the provider's webhook form."),
        ),
    ]


def _refusal_step(channel: ApiChannel) -> OnboardingStep | None:
    """Return a step that says why the provider's calls are refused: the value that was copied wrongly."""
    if at := channel.provider_status.get("refused_at"):
        return OnboardingStep(
            title=_("Webhooks are refused: wrong signature"),
            note=_(
                "The app secret in the form below is not that of the app that sends the webhooks, or the provider "
                "sends a different webhook secret."
            ),
            at=datetime.fromisoformat(at),
            state=PROBLEM,
        )
    at = channel.provider_status.get("handshake_refused_at")
    if at and not channel.provider_status.get("handshake_at") and not channel.first_inbound_at:
        return OnboardingStep(
            title=_("The provider used a different verify token"),
            note=_("Copy ours into the provider's webhook form. You can issue a new one at any time."),
            at=datetime.fromisoformat(at),
            state=PROBLEM,
        )
    return None


def _missing_key_step(channel: ApiChannel) -> OnboardingStep | None:
    """Return a step if calls were refused because they lack the required secret key: their statuses are missing."""
    at = channel.provider_status.get("refused_at")
    if not at or not channel.needs_key:
        return None
    return OnboardingStep(
        title=_("Statuses are refused: they do not contain the secret key"),
        note=_(
            "Ask the provider to send “Authorization: Bearer” with the key, or turn off “Statuses need the secret "
            "key” in the form below."
        ),
        at=datetime.fromisoformat(at),
        state=PROBLEM,
    )


def _handover_steps(channel: ApiChannel, handover: Handover | None) -> list[OnboardingStep]:
    if handover is None:
        if channel.first_inbound_at:
            return [
                OnboardingStep(
                    title=_("The provider has the key and the chat ID; no hand-over link was needed"), state=DONE
                )
            ]
        return [
            OnboardingStep(
                title=_("Nothing sent to the provider yet"),
                note=_("Create the one-time link and send it to the provider's staff."),
            )
        ]
    found = [OnboardingStep(title=_("Hand-over link created"), at=handover.created_at, state=DONE)]
    if handover.opened_at is None and handover.expires_at <= timezone.now():
        found.append(
            OnboardingStep(
                title=_("The link expired before it was opened"),
                note=_("Create a new link."),
                at=handover.expires_at,
                state=PROBLEM,
            )
        )
        return found
    found.append(
        _fact_step(
            handover.opened_at,
            _("Hand-over page opened"),
            _("The hand-over page has not been opened yet"),
            note=_("The link works until it is opened or expires."),
            done_note=_("Opened once, in one browser. If that was not the provider, issue a new key."),
        )
    )
    found.append(
        _fact_step(
            handover.confirmed_at,
            _("The provider has confirmed its set-up"),
            _("The provider has not confirmed yet"),
            note=_("The provider's staff confirm on the hand-over page when they are ready."),
        )
    )
    return found


def _mark_current(found: list[OnboardingStep]) -> list[OnboardingStep]:
    """Mark the first pending step as current, unless a step is already current or has a problem."""
    if any(step.state in (CURRENT, PROBLEM) for step in found):
        return found
    for index, step in enumerate(found):
        if step.state == PENDING:
            return [*found[:index], replace(step, state=CURRENT), *found[index + 1 :]]
    return found
