"""API channels: settings, state and keys of one WhatsApp account at one provider."""

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

MAX_RETENTION_DAYS = 36_500
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


def _retention_field(label: Any, help_text: Any) -> models.PositiveIntegerField[int | None, int | None]:
    """Build a field for a retention in days. Null: the portal's rule. 0: no limit."""
    return models.PositiveIntegerField(
        label, null=True, blank=True, validators=[MaxValueValidator(MAX_RETENTION_DAYS)], help_text=help_text
    )


class ApiChannelQuerySet(models.QuerySet["ApiChannel"]):
    def by_secret(self, secret: str) -> ApiChannel | None:
        """Return the API channel of a valid secret key, or None. Looks up a hash, so timing reveals nothing."""
        if not secret:
            return None
        found = Secret.objects.filter(digest=encryption.fingerprint(secret)).select_related("api_channel").first()
        is_usable = found and found.is_valid(timezone.now()) and found.api_channel.archived_at is None
        return found.api_channel if found and is_usable else None

    def unarchived(self) -> ApiChannelQuerySet:
        """Return the channels that are in use: lists and choices use it."""
        return self.filter(archived_at=None)


class ApiChannel(WebhookAddressed):
    """One WhatsApp account at one provider. The fields follow the four blocks of the set-up guide."""

    # The channel itself
    name = models.CharField(_("channel name"), max_length=200, help_text=_("The name in the list of channels."))
    kind = models.CharField(_("provider"), max_length=40, choices=messenger_choices)
    redirect_url = models.CharField(
        _("Redirect URL"),
        max_length=1000,
        blank=True,
        help_text=_("The provider's webhook, which receives the events. The provider gives you the address."),
    )
    send_json = models.BooleanField(
        _("JSON request"), default=True, help_text=_("Send the body as JSON. If off, send a form.")
    )
    send_utf8 = models.BooleanField(
        _("Send in UTF-8"), default=True, help_text=_("Send text unchanged. If off, characters are converted.")
    )
    send_multipart = models.BooleanField(
        _("Form as multipart"),
        default=False,
        db_default=False,
        help_text=_("If “JSON request” is off, send the form as multipart/form-data instead of URL-encoded."),
    )
    # Compatibility: details that Usedesk's documentation leaves open; see docs/decisions.md, 2026-11-28.
    first_message_in_ticket = models.BooleanField(
        _("ticket.message holds the request's first message"),
        default=False,
        db_default=False,
        help_text=_(
            "If off, ticket.message and ticket.files contain the current text and files, as most receivers expect."
        ),
    )
    exact_updated_at = models.BooleanField(
        _("last_updated_at is the exact time"),
        default=False,
        db_default=False,
        help_text=_(
            "If off, the time grows by at least a second with each event of a chat, so that receivers do not treat two "
            "identical messages in the same second as one."
        ),
    )
    # Watch channels
    watched = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("Watch channels"),
        related_name="watchers",
        blank=True,
        help_text=_("Move the chat channels whose events this API channel should follow to the right."),
    )
    # Tracking requests
    track_new_ticket = models.BooleanField(_("New request"), default=False)
    track_comment = models.BooleanField(_("New comment"), default=False)
    track_change = models.BooleanField(_("Request changed"), default=False)
    track_rating = models.BooleanField(
        _("Rating"),
        default=False,
        help_text=_("The built-in desk does not ask for ratings, so it never sends this event."),
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
            "Also send operators' replies in chats of other API channels that this one only watches. For programs "
            "that follow chats, such as a CRM. Leave it off if the Redirect URL delivers messages to clients: each "
            "reply might be sent twice."
        ),
    )
    template_in_window = models.BooleanField(
        _("Recognize templates in an open window"),
        default=False,
        help_text=_(
            "Send pasted template text as a template even while free text is allowed. If off, send plain text."
        ),
    )
    webhook_needs_key = models.BooleanField(
        _("Statuses need the secret key"),
        default=False,
        db_default=False,
        help_text=_(
            "Calls to the webhook address must contain “Authorization: Bearer” with the secret key. If off, the "
            "address alone is enough. Turn it on when the provider sends the key."
        ),
    )
    app_id = models.BigIntegerField(_("app ID"), unique=True, editable=False)
    options = models.JSONField(_("options"), default=dict, blank=True, editable=False)  # by ``provider.settings``
    # Account status as reported by the provider, and times of webhook checks.
    provider_status = RedactedJSONField(default=dict, blank=True, editable=False)
    state = models.CharField(
        _("state"), max_length=20, choices=ChannelState.choices, default=ChannelState.DRAFT, editable=False
    )
    paused_from = models.CharField(max_length=20, blank=True, editable=False)  # the state to return to
    resumed_at = models.DateTimeField(null=True, editable=False)  # earlier failures are ignored
    archived_at = models.DateTimeField(_("archived"), null=True, editable=False)  # an archived channel is paused, too
    verifying_since = models.DateTimeField(_("sent for verification"), null=True, editable=False)
    on_unknown = models.CharField(
        _("if the outcome is unknown"),
        max_length=10,
        choices=UnknownPolicy.choices,
        default=UnknownPolicy.RESEND,
        help_text=_("After a call that timed out, the message may or may not have arrived."),
    )
    calls_per_second = models.FloatField(
        _("maximum calls per second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.01), MaxValueValidator(1000)],
        help_text=_("For all calls of this channel. Leave empty for the provider's own limit."),
    )
    # See ``bridge.maintenance.retention``.
    keep_messages_days = _retention_field(
        _("keep messages for, days"),
        _(
            "Older messages lose their text, files and provider IDs; reports still count them. Empty: the portal's "
            "rule. 0: until the client's data is erased."
        ),
    )
    keep_files_days = _retention_field(
        _("keep files for, days"),
        _("Files of older messages are deleted from the disk. Empty: the portal's rule. 0: as long as the message."),
    )
    keep_events_days = _retention_field(
        _("keep raw requests for, days"),
        _("Raw requests contain messages and phone numbers. Empty: the portal's rule. 0: no limit."),
    )
    # A code of ``bridge.outcomes``.
    last_error = models.CharField(_("last error"), max_length=40, blank=True, editable=False)
    last_error_at = models.DateTimeField(_("last error at"), null=True, editable=False)
    first_inbound_at = models.DateTimeField(_("first event received"), null=True, editable=False)
    first_outbound_at = models.DateTimeField(_("first reply sent"), null=True, editable=False)
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
        """Return the kinds of event that are on."""
        return [kind for kind in self.EVENT_KINDS if getattr(self, f"track_{kind}")]

    @property
    def needs_key(self) -> bool:
        """Return whether webhook calls must contain the secret key. Applies only to providers that can send it."""
        return self.webhook_needs_key and self.provider.can_send_key

    @property
    def authenticates_webhooks(self) -> bool:
        """Return whether webhooks are authenticated by more than the address: a signature or the secret key."""
        return self.provider.signs_requests or self.needs_key

    @property
    def phone_page_path(self) -> str:
        return f"/phone/{self.pk}/" if self.provider.has_training_phone else ""

    @property
    def number(self) -> str:
        """Return the phone number from the last connection check, digits only; empty before the first check."""
        return "".join(digit for digit in str(self.provider_status.get("number") or "") if digit in "0123456789")

    @property
    def default_chat_channel(self) -> ChatChannel | None:
        """Return the chat channel for messages that name none: the first watched one."""
        return self.watched.order_by("id").first()

    def account(self) -> Account:
        """Return the account that provider code works with, secrets in clear."""
        now = timezone.now()
        secrets = tuple(secret.reveal() for secret in self.secrets.all() if secret.is_valid(now))
        credentials: dict[str, tuple[str, ...]] = {}
        if any(setting.kind == SECRET for setting in self.provider.settings):
            for row in self.credentials.order_by("-id"):
                if row.is_valid(now):
                    credentials[row.name] = (*credentials.get(row.name, ()), row.reveal())
        return replace(self.account_without_secrets(), secrets=secrets, credentials=credentials)

    def account_without_secrets(self) -> Account:
        """Return the account without its secrets. Needs no query and no decryption."""
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
            # A channel that is not live yet may lack it: the provider gives it after the verification.
            errors["redirect_url"] = _(
                "This provider receives messages at its Redirect URL. Ask the provider for the address."
            )
        if errors:
            raise ValidationError(errors)

    def _is_at_work(self) -> bool:
        state = self.paused_from if self.state == ChannelState.PAUSED else self.state
        return self.kind in messengers() and state in (ChannelState.LIVE, ChannelState.FAILING)

    # --- state: changed by events, or by the admin where there is no event ---

    def start_verification(self) -> bool:
        """Mark the company as submitted for verification. Returns False if the channel is no draft."""
        return bool(
            ApiChannel.objects.filter(pk=self.pk, state=ChannelState.DRAFT).update(
                state=ChannelState.VERIFYING, verifying_since=timezone.now()
            )
        )

    def finish_verification(self) -> bool:
        """Mark the verification as complete. Returns False if the channel was not waiting for it."""
        return bool(
            ApiChannel.objects.filter(pk=self.pk, state=ChannelState.VERIFYING).update(state=ChannelState.WAITING)
        )

    def record_handshake(self) -> None:
        """Record that the provider has verified the webhook address."""
        self.update_provider_status(handshake_at=timezone.now().isoformat(), handshake_refused_at="")

    def record_refusal(self, name: str) -> None:
        """Record a refused call under ``refused_at`` or ``handshake_refused_at``.

        Writes at most once a minute, because callers can repeat refused calls at any rate.
        """
        now, last = timezone.now(), self.provider_status.get(name)
        if not last or now - datetime.fromisoformat(last) > REFUSALS_RECORDED_EVERY:
            self.update_provider_status(**{name: now.isoformat()})

    def clear_refusal(self) -> None:
        """Clear earlier refusals after a valid signature."""
        if self.provider_status.get("refused_at"):
            self.update_provider_status(refused_at="")

    def update_provider_status(self, **values: Any) -> None:
        """Merge values into ``provider_status`` under a row lock."""
        with transaction.atomic():
            row = ApiChannel.objects.select_for_update(no_key=True).only("provider_status").get(pk=self.pk)
            self.provider_status = {**row.provider_status, **values}
            ApiChannel.objects.filter(pk=self.pk).update(provider_status=self.provider_status)

    def record_inbound(self) -> None:
        """Record an authentic event. The first one makes a waiting channel live."""
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
        """Pause sending. Incoming events are still stored, and service windows keep running."""
        ApiChannel.objects.filter(pk=self.pk).exclude(state=ChannelState.PAUSED).update(
            paused_from=models.F("state"), state=ChannelState.PAUSED
        )
        self.refresh_from_db()

    def resume(self) -> None:
        """Return a paused channel to its former state. An archived one stays paused."""
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.PAUSED, archived_at=None).update(
            state=models.F("paused_from"), paused_from="", resumed_at=timezone.now()
        )
        self.refresh_from_db()

    @transaction.atomic
    def archive(self) -> bool:
        """Put the channel away: it receives and sends nothing, and its chats stay. Returns False if it already is."""
        self.pause()
        changed = ApiChannel.objects.filter(pk=self.pk, archived_at=None).update(archived_at=timezone.now())
        self.refresh_from_db()
        return bool(changed)

    def unarchive(self) -> bool:
        """Take the channel back into use, paused. Returns False if it is not archived."""
        changed = ApiChannel.objects.filter(pk=self.pk).exclude(archived_at=None).update(archived_at=None)
        self.refresh_from_db()
        return bool(changed)

    @property
    def was_used(self) -> bool:
        """Return whether the channel has chats, which would be deleted with it."""
        return bool(self.first_inbound_at or self.first_outbound_at)

    def record_failure(self, reason: str) -> None:
        """Record a failed call. The channel shows it until a call succeeds."""
        ApiChannel.objects.filter(pk=self.pk).update(last_error=reason[:40], last_error_at=timezone.now())
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.LIVE).update(state=ChannelState.FAILING)

    def record_success(self, *, with_answer: bool) -> None:
        """Record a successful call. ``with_answer``: it contained an operator's reply, not only an event."""
        if with_answer:
            ApiChannel.objects.filter(pk=self.pk, first_outbound_at=None).update(first_outbound_at=timezone.now())
        ApiChannel.objects.filter(pk=self.pk).update(last_error="")
        ApiChannel.objects.filter(pk=self.pk, state=ChannelState.FAILING).update(state=ChannelState.LIVE)

    # --- secrets ---

    def issue_secret(self, *, overlap: timedelta = timedelta(0)) -> Secret:
        """Issue a secret key. Earlier keys stay valid for ``overlap``, then expire."""
        until = timezone.now() + overlap
        self.secrets.filter(expires_at=None).update(expires_at=until)
        return Secret.create_for(self)

    def save_credential(self, name: str, value: str, *, overlap: timedelta = CREDENTIAL_OVERLAP) -> Credential:
        """Save a provider key. The previous one stays valid for ``overlap``, for webhooks that are still in transit."""
        current = self.credentials.filter(name=name, expires_at=None).first()
        if current is not None and current.reveal() == value:
            return current
        self.credentials.filter(name=name, expires_at=None).update(expires_at=timezone.now() + overlap)
        return Credential.objects.create(
            api_channel=self, name=name, token=encryption.encrypt(value), tail=encryption.visible_tail(value)
        )

    def secret_tails(self) -> dict[str, str]:
        """Return the last characters of each current credential by name."""
        return {row.name: row.tail for row in self.credentials.filter(expires_at=None)}

    def save_secret(self, name: str, value: str) -> bool:
        """Save a provider key and return whether it changed."""
        before = self.credentials.filter(name=name, expires_at=None).first()
        return self.save_credential(name, value) != before

    def current_secret(self) -> Secret | None:
        return self.secrets.filter(expires_at=None).order_by("-id").first()


def _new_app_id() -> int:
    return 10_000 + secrets.randbelow(9_000_000)
