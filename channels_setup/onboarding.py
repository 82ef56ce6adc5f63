"""How far an API channel is connected: the way from draft to live as steps, each with what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from . import account_settings
from .models import ApiChannel, ChannelState, Handover

DONE, CURRENT, PENDING, PROBLEM = "done", "now", "later", "trouble"


@dataclass(frozen=True, kw_only=True)
class OnboardingStep:
    """One step. Of those that are not done the first is what to do ``now``."""

    title: str | Promise
    note: str | Promise = ""
    at: datetime | None = None
    state: str = PENDING


def list_steps(channel: ApiChannel) -> list[OnboardingStep]:
    """The channel's way in its order, by facts. Two queries."""
    found = [_watching_step(channel)]
    if channel.provider.needs_verification:
        found.append(_verification_step(channel))
    if channel.provider.needs_redirect_url and not channel.redirect_url:
        found.append(
            OnboardingStep(
                title=_("The Redirect URL is missing"),
                note=_("The provider's staff give it to you after the verification: write it into the form below."),
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
                title=_("A test webhook came in: %(name)s") % {"name": channel.provider_status.get("sample", "")},
                note=_("Sent by the button “Test” on the provider's page. It opens no chat."),
                at=datetime.fromisoformat(sample_at),
                state=DONE,
            )
        )
    found.append(
        _fact_step(
            channel.first_inbound_at,
            _("First message from a client came in"),
            _("No message from a client has come in yet"),
            note=_("Write to the WhatsApp number: the message must appear in Chats."),
        )
    )
    found.append(
        _fact_step(
            channel.first_outbound_at,
            _("First answer went out"),
            _("No answer has gone out yet"),
            note=_("Answer in Chats: the provider takes the message at its address.")
            if channel.provider.needs_redirect_url
            else _("Answer in Chats."),
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
            note=_("Messages have nowhere to land: choose a chat channel below."),
            state=PROBLEM,
        )
    return OnboardingStep(
        title=_("Watches %(names)s")
        % {"names": ", ".join(_("“%(name)s”") % {"name": chat_channel.name} for chat_channel in watched)},
        note=""
        if channel.provider.settings
        else _("Chat id for the provider: %(ids)s")
        % {"ids": ", ".join(str(chat_channel.pk) for chat_channel in watched)},
        at=channel.created_at,
        state=DONE,
    )


def _verification_step(channel: ApiChannel) -> OnboardingStep:
    state = channel.paused_from if channel.state == ChannelState.PAUSED else channel.state
    if state == ChannelState.DRAFT:
        return OnboardingStep(
            title=_("The company has not been sent for verification"),
            note=_("It takes about 2–3 weeks. Say so here once the papers are with the provider."),
        )
    if state == ChannelState.VERIFYING and channel.verifying_since:
        days = (timezone.now() - channel.verifying_since).days
        return OnboardingStep(
            title=_("Waiting for verification"),
            note=_("Day %(day)d; it usually takes 2–3 weeks.") % {"day": days + 1},
            at=channel.verifying_since,
            state=CURRENT,
        )
    return OnboardingStep(title=_("Verification is through"), state=DONE)


def _account_steps(channel: ApiChannel) -> list[OnboardingStep]:
    """Of a provider that is told nothing by hand: what it has to be told of, and whether it knows our address."""
    missing = account_settings.missing_settings(channel)
    names = ", ".join(str(setting.label) for setting in missing)
    told = OnboardingStep(
        title=_("The account's data are missing: %(names)s") % {"names": names},
        note=_("Write them into the form below; then check the account."),
    )
    checked_at, handshake_at = (channel.provider_status.get(name) for name in ("checked_at", "handshake_at"))
    number = " · ".join(filter(None, (channel.provider_status.get(name) for name in ("number", "name"))))
    return [
        told if missing else OnboardingStep(title=_("The account's data are complete"), state=DONE),
        _fact_step(
            datetime.fromisoformat(checked_at) if checked_at else None,
            _("The account answers: %(number)s") % {"number": number} if number else _("The account was checked"),
            _("The account has not been checked yet"),
            note=_("The button “Check the connection” asks the account who it is, and says what is missing."),
        ),
        _refusal_step(channel)
        or _fact_step(
            datetime.fromisoformat(handshake_at) if handshake_at else channel.first_inbound_at,
            _("The provider has verified the webhook address"),
            _("The webhook address has not been verified yet"),
            note=_("Write the address and the verify token, or the secret header, into the provider's webhook form."),
        ),
    ]


def _refusal_step(channel: ApiChannel) -> OnboardingStep | None:
    """Where the provider calls our address and is not let in: what was copied wrongly."""
    if at := channel.provider_status.get("refused_at"):
        return OnboardingStep(
            title=_("Webhooks come, but are refused: their signature does not fit"),
            note=_(
                "The app secret in the form below is not that of the app that sends them, or the provider shows "
                "another webhook secret."
            ),
            at=datetime.fromisoformat(at),
            state=PROBLEM,
        )
    at = channel.provider_status.get("handshake_refused_at")
    if at and not channel.provider_status.get("handshake_at") and not channel.first_inbound_at:
        return OnboardingStep(
            title=_("The provider asked for the webhook address with another verify token"),
            note=_("Copy ours into its webhook form; a new one can be made at any time."),
            at=datetime.fromisoformat(at),
            state=PROBLEM,
        )
    return None


def _missing_key_step(channel: ApiChannel) -> OnboardingStep | None:
    """Where calls must carry the secret key and the last ones did not: else a status would be missed in silence."""
    at = channel.provider_status.get("refused_at")
    if not at or not channel.needs_key:
        return None
    return OnboardingStep(
        title=_("Statuses come, but are refused: they do not carry the secret key"),
        note=_(
            "Ask the provider to send “Authorization: Bearer” with the key, or switch off “Statuses need the secret "
            "key” in the form below."
        ),
        at=datetime.fromisoformat(at),
        state=PROBLEM,
    )


def _handover_steps(channel: ApiChannel, handover: Handover | None) -> list[OnboardingStep]:
    if handover is None:
        if channel.first_inbound_at:
            return [
                OnboardingStep(title=_("Key and chat id reached the provider without a hand-over link"), state=DONE)
            ]
        return [
            OnboardingStep(
                title=_("Nothing has been handed over to the provider yet"),
                note=_("Prepare the one-time link and send it to the provider's staff."),
            )
        ]
    found = [OnboardingStep(title=_("Hand-over link prepared"), at=handover.created_at, state=DONE)]
    if handover.opened_at is None and handover.expires_at <= timezone.now():
        found.append(
            OnboardingStep(
                title=_("The link ran out before anybody opened it"),
                note=_("Prepare a new one."),
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
            note=_("The link works until it is opened or runs out."),
            done_note=_("By one browser, once. If that was not the provider, change the key."),
        )
    )
    found.append(
        _fact_step(
            handover.confirmed_at,
            _("The provider says that its side is set up"),
            _("The provider has not confirmed yet"),
            note=_("Its staff press a button on the hand-over page when they are ready."),
        )
    )
    return found


def _mark_current(found: list[OnboardingStep]) -> list[OnboardingStep]:
    """Mark what to do now: the first step that waits, unless one is already marked."""
    if any(step.state in (CURRENT, PROBLEM) for step in found):
        return found
    for place, step in enumerate(found):
        if step.state == PENDING:
            return [*found[:place], replace(step, state=CURRENT), *found[place + 1 :]]
    return found
