"""View model of one message in the thread: author, time, files, status and possible actions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bridge import outcomes, phone_visibility
from bridge.desk import presentation
from bridge.files import media_types
from bridge.models import Attachment, Delivery, HeldReply, Message
from bridge.outcomes import SuggestedAction

from . import extras

Status = Message.Status
UNSETTLED = (Status.PENDING, Status.SENDING, Status.UNKNOWN, Status.FAILED)
ACCEPT_UNKNOWN = "accept_unknown"  # action: accept an unknown outcome
PICTURE_SIDE = 320  # longest side of a picture in the thread, in pixels
RESENDABLE = (Delivery.State.DEAD, Delivery.State.UNKNOWN, Delivery.State.CANCELLED)
TICK_ICONS = {
    Status.PENDING: "clock",
    Status.SENDING: "clock",
    Status.UNKNOWN: "question",
    Status.SENT: "tick",
    Status.FAILED: "alert",
    Status.DELIVERED: "ticks",
    Status.READ: "ticks",
}


@dataclass(frozen=True, kw_only=True)
class FileView:
    name: str
    href: str
    pk: int
    kind: str = media_types.OTHER  # how a stored file is shown
    mime: str = ""  # as stated by the sender; browsers know from it whether they can play the file
    size: int | None = None
    width: int | None = None  # of a picture in the thread, in pixels; None if unknown
    height: int | None = None
    missing_text: str = ""  # shown in place of a missing file
    retry_id: int | None = None  # attachment ID if the download can be retried


@dataclass(frozen=True, kw_only=True)
class HeldReplyView:
    """A reply held until the client writes."""

    reply: HeldReply
    now: datetime

    @property
    def author(self) -> str:
        return presentation.person_name(self.reply.author)

    @property
    def until(self) -> str:
        return presentation.format_moment(self.reply.drop_at, now=self.now)


@dataclass(frozen=True, kw_only=True)
class MessageView:
    message: Message
    attachments: Sequence[Attachment] = ()
    held_since: str = ""  # set if the text was held until the client wrote
    delivery: Delivery | None  # set if the message is not settled
    may_write: bool  # free text is allowed now
    now: datetime
    last_inbound_at: datetime | None = None  # the client's newest message on the page
    reactor: str = ""  # name of the operator who chose our reaction

    @property
    def is_ours(self) -> bool:
        return self.message.direction == Message.Direction.OUTBOUND

    @property
    def is_notice(self) -> bool:
        return self.message.direction == Message.Direction.NOTICE

    @cached_property
    def author(self) -> str:
        if "automatic" in self.message.details:
            return pgettext("author of a message", "Automatic reply")
        return presentation.person_name(self.message.author) or str(self.message.details.get("operator", ""))

    @property
    def tick_icon(self) -> str:
        return TICK_ICONS.get(Status(self.message.status), "clock")

    @property
    def status_words(self) -> str:
        return str(Status(self.message.status).label)

    @cached_property
    def stored_at(self) -> datetime:
        """Return the time of receipt in the reader's zone."""
        return timezone.localtime(self.message.created_at)

    @cached_property
    def written_at(self) -> datetime:
        """Return the time to show in the reader's zone."""
        return timezone.localtime(self.message.written_at) if self.message.is_received_late else self.stored_at

    @property
    def at(self) -> str:
        """Return the time of writing, with the day if the message was received on another day."""
        if self.written_at is self.stored_at or self.written_at.date() == self.stored_at.date():
            return f"{self.written_at:%H:%M}"
        return presentation.format_moment(self.written_at, now=self.now)

    @property
    def full_time(self) -> str:
        """Return the date and time of writing in the reader's zone."""
        return presentation.format_full(self.written_at)

    @property
    def received_at(self) -> str:
        """Return the time of receipt of a late message. The window counts from the time of writing."""
        return (
            presentation.format_moment(self.message.created_at, now=self.now) if self.message.is_received_late else ""
        )

    @property
    def template_name(self) -> str:
        return str((self.message.template or {}).get("name", ""))

    @property
    def problem(self) -> str:
        """Return the sentence about a failed, unknown or delayed message, or an empty string."""
        if self.message.status in (Status.FAILED, Status.UNKNOWN):
            return self.message.sentence_without_error
        if self.delivery is not None and self.delivery.reason and self.delivery.state == Delivery.State.PENDING:
            return outcomes.render_sentence(self.delivery.reason)
        return ""

    @property
    def provider_words(self) -> str:
        """Return the provider's own words and code of a failure, which operators see on request."""
        if self.message.status not in (Status.FAILED, Status.UNKNOWN):
            return ""
        words = outcomes.format_provider_error(self.message.details)
        return phone_visibility.visible_text(words, self.message.api_channel_id)

    @property
    def is_failed(self) -> bool:
        return self.message.status == Status.FAILED

    @property
    def has_client_written_since(self) -> bool:
        """Return whether the client wrote after the failure, so that a window may be open again."""
        failed_at = self.message.status_at
        return self.last_inbound_at is not None and failed_at is not None and self.last_inbound_at > failed_at

    @property
    def actions(self) -> list[str]:
        """List the actions under a message: the helpful template, resend, or the suggested action."""
        delivery = self.delivery
        suggested = outcomes.suggest_action(self.message.reason)
        if delivery is not None and delivery.state in RESENDABLE:
            if delivery.free_text and not self.may_write:
                return [SuggestedAction.TEMPLATE]
            if delivery.state == Delivery.State.UNKNOWN:
                return [SuggestedAction.RESEND, ACCEPT_UNKNOWN]
            if suggested == SuggestedAction.TEMPLATE and not (delivery.free_text and self.has_client_written_since):
                return [SuggestedAction.TEMPLATE]
            if delivery.reason != "template_not_sendable":
                return [SuggestedAction.RESEND]
        if self.message.status != Status.FAILED:
            return []
        return [suggested] if suggested == SuggestedAction.TEMPLATE else [SuggestedAction.EDIT]

    @cached_property
    def files(self) -> list[FileView]:
        return [_build_file_view(attachment) for attachment in self.attachments]

    @cached_property
    def extras(self) -> extras.MessageExtras:
        return extras.build_extras(self.message, now=self.now, reactor=self.reactor)

    @property
    def version(self) -> str:
        message, delivery = self.message, self.delivery
        parts: tuple[object, ...] = (message.status, message.reason, message.created_at.timestamp())
        if not message.text and not self.attachments:
            parts += ("empty",)  # erased, possibly while the chat is open
        if message.shown or message.reactions:
            parts += (zlib.crc32(repr((message.shown, message.reactions, message.text)).encode()),)
        parts += tuple(one.state for one in self.attachments if one.state != Attachment.State.AVAILABLE)
        if delivery is not None:
            parts += (delivery.state, delivery.attempts, delivery.reason, self.may_write)
            parts += ("written",) if self.has_client_written_since else ()
        return " ".join(map(str, parts))


def _build_file_view(attachment: Attachment) -> FileView:
    """Build the view of a file. External URLs are only linked, and only if http(s)."""
    name = attachment.name or attachment.url.rsplit("/", 1)[-1][:80] or _("file")
    if attachment.file:
        media = media_types.find_media_type(attachment.mime, attachment.name)
        width, height = fit_picture(attachment.width, attachment.height)
        is_stated = attachment.mime.lower().startswith(media.mime)
        return FileView(
            name=name,
            href=f"/files/{attachment.pk}/",
            pk=attachment.pk,
            kind=media.kind,
            mime=attachment.mime if is_stated else media.mime,
            size=attachment.size,
            width=width,
            height=height,
        )
    if attachment.state == Attachment.State.WAITING:
        return FileView(name=name, href="", pk=attachment.pk, missing_text=_("downloading from the provider"))
    if attachment.state == Attachment.State.EXPIRED:
        return FileView(name=name, href="", pk=attachment.pk, missing_text=_("deleted: too old"))
    if attachment.state == Attachment.State.FAILED:
        missing_text = (
            outcomes.render_sentence(attachment.error)
            if attachment.error
            else _("could not be downloaded from the provider")
        )
        return FileView(name=name, href="", pk=attachment.pk, missing_text=missing_text, retry_id=attachment.pk)
    is_web = attachment.url.lower().startswith(("https://", "http://"))
    return FileView(name=name, href=attachment.url if is_web else "", pk=attachment.pk)


def fit_picture(width: int | None, height: int | None) -> tuple[int | None, int | None]:
    """Return the size in which the thread shows a picture, so that its place is reserved before it has loaded."""
    if not width or not height:
        return None, None
    scale = min(1.0, PICTURE_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
