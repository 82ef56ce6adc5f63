"""One messenger account at one provider: its settings, its state, its keys."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption
from channels_setup.http_client import ForbiddenAddress, unresolved_warning
from channels_setup.providers import messengers
from channels_setup.providers.base import SECRET, Account, Messenger

from .chat_channels import ChatChannel
from .keys import Credential, Secret
from .redacted_fields import RedactedJSONField
from .webhook_addresses import WebhookAddressed

CREDENTIAL_OVERLAP = timedelta(hours=24)
REFUSALS_RECORDED_EVERY = timedelta(minutes=1)


def messenger_choices() -> list[tuple[str, Any]]:
    return [(kind, provider.label) for kind, provider in messengers().items()]


class ChannelState(models.TextChoices):
    DRAFT = "draft", _("draft")
    VERIFYING = "verifying", _("waiting for verification")
    WAITING = "waiting", _("waiting for the provider")
    LIVE = "live", _("live")
    PAUSED = "paused", _("paused")
    FAILING = "failing", _("failing")


class UnknownPolicy(models.TextChoices):
    RESEND = "resend", _("send again")
    ASK = "ask", _("ask the operator")


class ApiChannelQuerySet(models.QuerySet["ApiChannel"]):
    def by_secret(self, secret: str) -> ApiChannel | None:
        """The API channel whose valid secret key this is, or None. Constant time by construction: a hash look-up."""
        if not secret:
            return None
        found = Secret.objects.filter(digest=encryption.fingerprint(secret)).select_related("api_channel").first()
        return found.api_channel if found and found.is_valid(timezone.now()) else None


class ApiChannel(WebhookAddressed):
    """One messenger account at one provider, as set up in the four blocks of the set-up guide."""

    # The channel itself
    name = models.CharField(_("channel name"), max_length=200, help_text=_("As listed under Channels."))
    kind = models.CharField(_("provider"), max_length=40, choices=messenger_choices)
    redirect_url = models.CharField(
        _("Redirect URL"),
        max_length=1000,
        blank=True,
        help_text=_("The provider's webhook: where events go. The provider's staff give it to you."),
    )
    send_json = models.BooleanField(
        _("JSON request"), default=True, help_text=_("Send the body as JSON. Off: as a form.")
    )
    send_utf8 = models.BooleanField(
        _("Send in UTF-8"), default=True, help_text=_("Send text as it is. Off: characters are converted.")
    )
    send_multipart = models.BooleanField(
        _("Form as multipart"),
        default=False,
        db_default=False,
        help_text=_("With “JSON request” off: send the form as multipart/form-data. Off: URL-encoded."),
    )
    # Compatibility: what the helpdesk's documentation leaves open; see docs/decisions.md, 2026-11-28.
    first_message_in_ticket = models.BooleanField(
        _("ticket.message holds the request's first message"),
        default=False,
        db_default=False,
        help_text=_("Off: ticket.message and ticket.files hold the current text and files, as most receivers expect."),
    )
    exact_updated_at = models.BooleanField(
        _("last_updated_at is the exact time"),
        default=False,
        db_default=False,
        help_text=_(
            "Off: it grows by at least a second with each event of a chat, so that two equal messages in one second "
            "are not taken for one."
        ),
    )
    # Watch channels
    watched = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("Watch channels"),
        related_name="watchers",
        blank=True,
        help_text=_("Move to the right the chat channels whose events this API channel should follow."),
    )
    # Tracking requests
    track_new_ticket = models.BooleanField(_("New request"), default=False)
    track_comment = models.BooleanField(_("New comment"), default=False)
    track_change = models.BooleanField(_("Request changed"), default=False)
    track_rating = models.BooleanField(
        _("Rating"),
        default=False,
        help_text=_("The built-in desk asks for no ratings, so it never raises this event."),
    )
    # Tracking chats
    track_new_chat = models.BooleanField(_("New chat"), default=True)
    track_message = models.BooleanField(_("All chat messages"), default=True)
    track_resumed = models.BooleanField(_("Chat resumed"), default=True)

    copy_replies = models.BooleanField(
        _("Also copy operators' replies"),
        default=False,
        db_default=False,
        help_text=_(
            "In chats of other API channels that this one only watches. For a program that follows chats, such as a "
            "CRM. Leave it off if the Redirect URL delivers messages to clients: it might send each reply a second "
            "time."
        ),
    )
    template_in_window = models.BooleanField(
        _("Recognize templates in an open window"),
        default=False,
        help_text=_("Send pasted template text as the template even while free text is allowed. Off: as plain text."),
    )
    webhook_needs_key = models.BooleanField(
        _("Statuses need the secret key"),
        default=False,
        db_default=False,
        help_text=_(
            "The provider sends “Authorization: Bearer” with the secret key to the webhook address; calls without it "
            "are refused. Off: the address alone is enough. Switch it on once the provider sends the key."
        ),
    )
    app_id = models.BigIntegerField(_("app ID"), unique=True, editable=False)
    options = models.JSONField(_("options"), default=dict, blank=True, editable=False)  # by ``provider.settings``
    provider_status = RedactedJSONField(
        default=dict, blank=True, editable=False
    )  # what the provider said of the account
    state = models.CharField(
        _("state"), max_length=20, choices=ChannelState.choices, default=ChannelState.DRAFT, editable=False
    )
    paused_from = models.CharField(max_length=20, blank=True, editable=False)  # the state to return to
    resumed_at = models.DateTimeField(null=True, editable=False)  # failures of the time before say nothing new
    verifying_since = models.DateTimeField(_("sent for verification"), null=True, editable=False)
    on_unknown = models.CharField(
        _("when an outcome is unknown"),
        max_length=10,
        choices=UnknownPolicy.choices,
        default=UnknownPolicy.RESEND,
        help_text=_("A call timed out after the message went out: it may have arrived, or not."),
    )
    calls_per_second = models.FloatField(
        _("calls a second at most"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(1000)],
        help_text=_("Everything sent over this channel, all workers together. Empty: no limit but the provider's own."),
    )
    last_error = models.CharField(_("last error"), max_length=40, blank=True, editable=False)  # a code of the catalogue
    last_error_at = models.DateTimeField(_("last error at"), null=True, editable=False)
    first_inbound_at = models.DateTimeField(_("first event in"), null=True, editable=False)
    first_outbound_at = models.DateTimeField(_("first answer out"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = ApiChannelQuerySet.as_manager()

    class Meta:
        verbose_name = _("API channel")
        verbose_name_plural = _("API channels")
        ordering = ["id"]

    EVENT_KINDS = ("new_chat", "message", "resumed", "new_ticket", "comment", "change", "rating")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.app_id:
            self.app_id = _new_app_id()
        super().save(*args, **kwargs)

    @property
    def provider(self) -> Messenger:
        return messengers()[self.kind]

    @property
    def tracked(self) -> list[str]:
        """The kinds of event that are ticked."""
        return [kind for kind in self.EVENT_KINDS if getattr(self, f"track_{kind}")]

    @property
    def needs_key(self) -> bool:
        """Whether calls to the webhook address must carry the secret key: only kinds that can send it are asked."""
        return self.webhook_needs_key and self.provider.can_send_key

    @property
    def authenticates_webhooks(self) -> bool:
        """Whether something besides the webhook address shows that a request is the provider's."""
        return self.provider.signs_requests or self.needs_key

    @property
    def phone_page_path(self) -> str:
        return f"/phone/{self.pk}/" if self.provider.has_training_phone else ""

    @property
    def number(self) -> str:
        """The phone number that the provider showed at the last check, digits only; empty before."""
        return "".join(digit for digit in str(self.provider_status.get("number") or "") if digit in "0123456789")

    @property
    def default_chat_channel(self) -> ChatChannel | None:
        """The chat channel for messages whose provider does not name one: the first watched."""
        return self.watched.order_by("id").first()

    def account(self) -> Account:
        """What a provider sees of this channel, secrets in clear."""
        now = timezone.now()
        secrets = tuple(secret.reveal() for secret in self.secrets.all() if secret.is_valid(now))
        credentials: dict[str, tuple[str, ...]] = {}
        if any(setting.kind == SECRET for setting in self.provider.settings):
            for row in self.credentials.order_by("-id"):
                if row.is_valid(now):
                    credentials[row.name] = (*credentials.get(row.name, ()), row.reveal())
        return replace(self.account_without_secrets(), secrets=secrets, credentials=credentials)

    def account_without_secrets(self) -> Account:
        """The account without its secrets: no query, nothing to decrypt."""
        return Account(
            id=self.pk,
            name=self.name,
            app_id=str(self.app_id),
            redirect_url=self.redirect_url,
            send_json=self.send_json,
            send_utf8=self.send_utf8,
            send_multipart=self.send_multipart,
            options=self.options,
            webhook_needs_key=self.needs_key,
            calls_per_second=self.calls_per_second,
            number=self.number,
        )

    def clean(self) -> None:
        errors: dict[str, Any] = {}
        if self.redirect_url:
            try:
                unresolved_warning(self.redirect_url)
            except ForbiddenAddress as problem:
                errors["redirect_url"] = str(problem)
        elif self._is_at_work() and self.provider.needs_redirect_url:
            # Before that it may be missing: the provider gives it when the verification is through.
            errors["redirect_url"] = _(
                "This provider takes messages at its Redirect URL: ask its staff for the address."
            )
        if errors:
            raise ValidationError(errors)

    def _is_at_work(self) -> bool:
        state = self.paused_from if self.state == ChannelState.PAUSED else self.state
        return self.kind in messengers() and state in (ChannelState.LIVE, ChannelState.FAILING)

    # --- state, by facts and by the admin's word where there is no fact to see ---

    def start_verification(self) -> bool:
        """The company's papers are with the provider. False where the channel is past that."""
        return bool(
            ApiChannel.objects.filter(pk=self.pk, state=ChannelState.DRAFT).update(
                state=ChannelState.VERIFYING, verifying_since=timezone.now()
            )
        )

    def finish_verification(self) -> bool:
        """The provider said yes; now it sets the account up. False where nothing was waiting for that."""
        return bool(
            ApiChannel.objects.filter(pk=self.pk, state=ChannelState.VERIFYING).update(state=ChannelState.WAITING)
        )

    def record_handshake(self) -> None:
        """The provider has made sure that the webhook address is ours."""
        self.update_provider_status(handshake_at=timezone.now().isoformat(), handshake_refused_at="")

    def record_refusal(self, name: str) -> None:
        """Somebody who knows the address could not prove themselves: ``refused_at`` or ``handshake_refused_at``.

        Written once a minute at most: the address may be called as often as anybody likes.
        """
        now, last = timezone.now(), self.provider_status.get(name)
        if not last or now - datetime.fromisoformat(last) > REFUSALS_RECORDED_EVERY:
            self.update_provider_status(**{name: now.isoformat()})

    def clear_refusal(self) -> None:
        """A signature fits (again): former refusals are over."""
        if self.provider_status.get("refused_at"):
            self.update_provider_status(refused_at="")

    def update_provider_status(self, **values: Any) -> None:
        """What the provider said of the account, for the channel's page."""
        with transaction.atomic():
            row = ApiChannel.objects.select_for_update(no_key=True).only("provider_status").get(pk=self.pk)
            self.provider_status = {**row.provider_status, **values}
            ApiChannel.objects.filter(pk=self.pk).update(provider_status=self.provider_status)

    def record_inbound(self) -> None:
        """An authentic event came in: the first one makes a waiting channel live."""
        if self.first_inbound_at is not None:
            return
        now = timezone.now()
        changed = ApiChannel.objects.filter(pk=self.pk, first_inbound_at=None).update(first_inbound_at=now)
        if changed:
            self.first_inbound_at = now
            waiting = [ChannelState.DRAFT, ChannelState.VERIFYING, ChannelState.WAITING]
            ApiChannel.objects.filter(pk=self.pk, state__in=waiting).update(state=ChannelState.LIVE)
            ApiChannel.objects.filter(pk=self.pk, state=ChannelState.PAUSED, paused_from__in=waiting).update(
                paused_from=ChannelState.LIVE
            )
            self.handovers.filter(first_event_at=None).update(first_event_at=now)

    def pause(self) -> None:
        """Hold everything that goes out; what comes in is still stored, and windows run on."""
        ApiChannel.objects.filter(pk=self.pk).exclude(state=ChannelState.PAUSED).update(
            paused_from=models.F("state"), state=ChannelState.PAUSED
        )
        self.refresh_from_db()

    def resume(self) -> None:
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.PAUSED).update(
            state=models.F("paused_from"), paused_from="", resumed_at=timezone.now()
        )
        self.refresh_from_db()

    def record_failure(self, reason: str) -> None:
        """The destination refuses or cannot be reached: shown on the channel until a call succeeds."""
        ApiChannel.objects.filter(pk=self.pk).update(last_error=reason[:40], last_error_at=timezone.now())
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.LIVE).update(state=ChannelState.FAILING)

    def record_success(self, *, with_answer: bool) -> None:
        """A call was taken. ``with_answer``: it bore an operator's words, not only news of a chat."""
        if with_answer:
            ApiChannel.objects.filter(pk=self.pk, first_outbound_at=None).update(first_outbound_at=timezone.now())
        ApiChannel.objects.filter(pk=self.pk).update(last_error="")
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.FAILING).update(state=ChannelState.LIVE)

    # --- secrets ---

    def issue_secret(self, *, overlap: timedelta = timedelta(0)) -> Secret:
        """A new secret key. The ones before it stay valid for ``overlap`` (a rotation) and then never again."""
        until = timezone.now() + overlap
        self.secrets.filter(expires_at=None).update(expires_at=until)
        return Secret.create_for(self)

    def save_credential(self, name: str, value: str, *, overlap: timedelta = CREDENTIAL_OVERLAP) -> Credential:
        """Another key of the provider's; the one before it stays valid for a while, as webhooks are on their way."""
        current = self.credentials.filter(name=name, expires_at=None).first()
        if current is not None and current.reveal() == value:
            return current
        self.credentials.filter(name=name, expires_at=None).update(expires_at=timezone.now() + overlap)
        return Credential.objects.create(
            api_channel=self, name=name, token=encryption.encrypt(value), tail=encryption.visible_tail(value)
        )

    def secret_tails(self) -> dict[str, str]:
        """Name -> the last digits of the newest."""
        return {row.name: row.tail for row in self.credentials.filter(expires_at=None)}

    def save_secret(self, name: str, value: str) -> bool:
        """Keep another key; whether it is another."""
        before = self.credentials.filter(name=name, expires_at=None).first()
        return self.save_credential(name, value) != before

    def current_secret(self) -> Secret | None:
        return self.secrets.filter(expires_at=None).order_by("-id").first()


def _new_app_id() -> int:
    return 10_000 + secrets.randbelow(9_000_000)
