"""Records of the desk: drafts, pins, notes, canned responses, uploads."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ApiChannel, ChatChannel

from . import file_names
from .contacts import Contact
from .conversations import Conversation
from .messages import Message
from .search import build_message_vector


class Draft(models.Model):
    """An operator's unsent text. ``reason``: why it could not be sent, if it was refused."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()
    reason = models.CharField(max_length=40, blank=True)
    details = models.JSONField(default=dict, blank=True)  # values of the reason's sentence
    key = models.CharField(max_length=64, blank=True, default="", db_default="")  # becomes ``Message.form_key``
    written_at = models.DateTimeField(null=True)  # browser's time of the last keystroke; the newer text wins
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("draft")
        verbose_name_plural = _("drafts")
        constraints = [models.UniqueConstraint(fields=["conversation", "user"], name="one_draft_per_operator")]

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.user_id}"

    @property
    def form_key(self) -> str:
        """Return the key under which this draft is sent. Drafts created by the portal get a derived key."""
        return self.key or f"draft-{self.pk}-{int(self.updated_at.timestamp() * 1000)}"

    @property
    def written_ms(self) -> int:
        return int((self.written_at or self.updated_at).timestamp() * 1000)


class ChatPin(models.Model):
    """A chat that an operator keeps at the top of their lists."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # the unique constraint begins with it
    )
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="pins")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("pinned chat")
        verbose_name_plural = _("pinned chats")
        constraints = [models.UniqueConstraint(fields=["user", "conversation"], name="one_pin_per_chat_and_operator")]

    def __str__(self) -> str:
        return f"{self.user_id}/{self.conversation_id}"


class ContactNote(models.Model):
    """An internal note about a contact. The contact never sees it."""

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    edited_at = models.DateTimeField(_("edited"), null=True)

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        indexes = [GinIndex(build_message_vector(), name="contact_notes_by_text")]

    def __str__(self) -> str:
        return f"{self.pk}"


class CannedResponse(models.Model):
    """A frequent text of operators. ``bridge.desk.canned_responses`` lists its variables."""

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=80)
    text = models.TextField(
        _("text"),
        max_length=4096,
        help_text=_(
            # xgettext:no-python-brace-format
            "Variables: {first name}, {client name}, {operator}, {signature}, {request}, {channel}. Variables without "
            "a value are left out."
        ),
    )
    chat_channels = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("chat channels"),
        blank=True,
        related_name="+",
        help_text=_("If none is selected, all chat channels have it."),
    )
    # Only this person sees it; null: all operators.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
    )
    folder = models.CharField(_("folder"), max_length=60, blank=True, default="", db_default="")
    is_used = models.BooleanField(_("in use"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("quick reply")
        verbose_name_plural = _("quick replies")

    def __str__(self) -> str:
        return self.name


class Upload(models.Model):
    """A file uploaded by an operator: sent as a file, or shared by a link that expires."""

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="uploads")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # The message that contains the file; null for a shared link.
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    file = models.FileField(upload_to=file_names.build_outbound_path)
    name = models.CharField(max_length=200)
    mime = models.CharField(max_length=100)
    size = models.BigIntegerField()
    width = models.IntegerField(null=True, editable=False)  # of a picture, as displayed
    height = models.IntegerField(null=True, editable=False)
    sha256 = models.CharField(max_length=64, blank=True)  # hex
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    downloads = models.IntegerField(_("downloads"), default=0)
    downloaded_at = models.DateTimeField(_("last download"), null=True)

    class Meta:
        verbose_name = _("uploaded file")
        verbose_name_plural = _("uploaded files")
        indexes = [
            models.Index(fields=["conversation", "-id"], name="uploads_of_conversation"),
            models.Index(fields=["expires_at"], condition=Q(message=None), name="uploads_due"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_picture(self) -> bool:
        return self.mime.startswith("image/")  # the type was checked on upload


class ProviderUpload(models.Model):
    """A file of ours uploaded to the provider, with the provider's ID of it (``provider_uploads``)."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    sha256 = models.CharField(max_length=64)  # hex
    mime = models.CharField(max_length=100)
    external_id = models.CharField(max_length=190)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("file uploaded to the provider")
        verbose_name_plural = _("files uploaded to the provider")
        constraints = [models.UniqueConstraint(fields=["api_channel", "sha256", "mime"], name="one_upload_per_file")]

    def __str__(self) -> str:
        return f"{self.api_channel_id} {self.external_id}"
