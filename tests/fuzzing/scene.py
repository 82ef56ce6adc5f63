"""Rows that hostile requests can name, and the roles that send the requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.conversations import receiving
from bridge.fanout import template_links
from bridge.files import uploads
from bridge.files.attachment_files import build_signed_link
from bridge.models import Attachment, CannedResponse, Conversation, Delivery, Message, Mismatch, WebhookEvent
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.models.handovers import Handover
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.cloud_accounts import cloud_channel
from tests.factories import (
    ApiChannelFactory,
    DeliveryFactory,
    MessageFactory,
    TemplateFactory,
    UserFactory,
    boris,
    token_of,
    vera,
)

CSRF = "c" * 32


@dataclass
class Scene:
    channel: ApiChannel
    key: str
    conversation: Conversation
    ids: dict[str, int]
    sessions: dict[str, str]  # role -> Cookie header
    tokens: dict[str, str]  # role -> Authorization header
    addresses: list[str]  # pages behind signatures and tokens
    webhooks: dict[str, str]  # kind -> path


def make() -> Scene:
    channel = ApiChannelFactory(secret=True)
    cloud, acebot = cloud_channel(), ApiChannelFactory(kind="acebot", secret=True, redirect_url="https://x.example/")
    operator, admin = boris(channel.default_chat_channel), vera()
    superuser = UserFactory(username="root", is_staff=True, is_superuser=True)
    conversation, other = _chat(channel, "anna"), _chat(channel, "petr")
    template = TemplateFactory(api_channel=channel)
    ids = _rows(conversation, operator) | {"template": template.pk, "contact": other.contact_id, "user": operator.pk}
    ids |= {
        "channel": channel.default_chat_channel.pk,
        "chat": conversation.pk,
        "pk": conversation.pk,
        "other": other.pk,
    }
    upload = uploads.save_upload(conversation, SimpleUploadedFile("a.txt", b"abc"), author=operator)
    attachment = Attachment.objects.get(pk=ids["file_id"])
    helpdesk = ChatChannel(name="Usedesk", kind="usedesk", company_id=1)
    helpdesk.options = {"base_url": "https://x.example", "channel_id": 870, "app_id": "51423", "language": "en"}
    helpdesk.set_secret("a1" * 20)
    helpdesk.save()
    _handover, token = Handover.prepare(channel, user=admin)
    return Scene(
        channel=channel,
        key=channel.current_secret().reveal(),
        conversation=conversation,
        ids=ids | {"upload_id": upload.pk},
        sessions={
            "": f"csrftoken={CSRF}",
            "operator": _session(operator),
            "admin": _session(admin),
            "superuser": _session(superuser),
        },
        tokens={"operator": token_of(operator)["authorization"], "admin": token_of(admin)["authorization"]},
        addresses=[
            build_signed_link(attachment),
            "/shared/" + uploads.build_share_link(upload).partition("/shared/")[2],
            "/send/"
            + template_links.build_link_url(template_links.create_template_link(conversation)).partition("/send/")[2],
            f"/handover/{token}/",
            f"/phone/{channel.pk}/",
            f"/phone/{channel.pk}/messages",
        ],
        webhooks={
            "sandbox": channel.webhook_path,
            "whatsapp_cloud": cloud.webhook_path,
            "acebot": acebot.webhook_path,
            "usedesk": helpdesk.webhook_path,
        },
    )


def _session(user: Any) -> str:
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}; csrftoken={CSRF}"


def _chat(channel: ApiChannel, who: str) -> Conversation:
    info = ContactInfo(external_id=who, phone=f"+7921123456{len(who)}", name=who.title())
    fact = MessageReceived(contact=info, text="Здравствуйте!", external_id=f"m-{who}", at=timezone.now())
    incoming = receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel, contact=None)
    return receiving.receive_messages(channel, [incoming])[0].conversation


def _rows(conversation: Conversation, operator: Any) -> dict[str, int]:
    channel = conversation.api_channel
    message = Message.objects.filter(conversation=conversation).first()
    attachment = Attachment(message=message, name="a.png", mime="image/png", size=3)
    attachment.file.save("a.png", SimpleUploadedFile("a.png", b"abc"))
    sent = MessageFactory(conversation=conversation, outbound=True, status="failed", author=operator)
    delivery = DeliveryFactory(message=sent, state=Delivery.State.DEAD, reason="cannot_connect")
    reply_submission.save_draft(conversation.pk, author=operator, text="Сейчас посмотрю")
    CannedResponse.objects.create(name="Привет", text="Здравствуйте!")
    event = WebhookEvent.objects.create(
        api_channel=channel, endpoint="webhook", method="POST", body=b"{}", state="failed"
    )
    Mismatch.objects.create(api_channel=channel, kind=Mismatch.Kind.NOT_SENT, since=timezone.now() - timedelta(hours=1))
    return {
        "message_id": sent.pk,
        "delivery": delivery.pk,
        "file_id": attachment.pk,
        "ticket": conversation.tickets.first().pk,
        "event": event.pk,
    }
