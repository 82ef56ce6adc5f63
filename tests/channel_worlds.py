"""A channel with a row of every model, for tests of access from outside the channel.

Every text of the channel contains `WORD` and `CANARY`. Searches ask for `WORD`, so an answer may repeat it. No request
contains `CANARY`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.db.models import Model, Q
from django.utils import timezone

from bridge.fanout import template_links
from bridge.files import attachment_files, uploads
from bridge.merging.merge import merge_contacts
from bridge.models import (
    Alert,
    Attachment,
    Attempt,
    BulkAction,
    CannedResponse,
    ContactChange,
    ContactImport,
    ContactNote,
    Draft,
    Erasure,
    HeldReply,
    Macro,
    Mismatch,
    SavedView,
    StrayStatus,
    Upload,
    WebhookEvent,
)
from channels_setup.models import AlertRoute, ApiChannel, ChatChannel, Handover, Team
from channels_setup.roles import Role, assign_role
from config.audit.models import AuditRecord
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ContactFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    TemplateFactory,
    TicketFactory,
    UserFactory,
)

WORD, CANARY = "quokka", "bilbycanary"
PHONE = "+79005550177"
CANARIES = (CANARY, PHONE[1:], "900 555-01-77")
TEXT = f"{WORD} {CANARY}"
APPS = ("channels_setup", "templates_registry", "bridge", "config")


@dataclass
class World:
    """The rows of a channel, and the secrets in the URLs that lead to them."""

    api_channel: ApiChannel
    chat_channel: ChatChannel
    operator: Any
    rows: dict[str, Any] = field(default_factory=dict)  # by model name
    secrets: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, model: str) -> Any:
        return self.rows[model]


def make_world(
    name: str,
    *,
    text: str = "",
    phone: str = "+79001112233",
    api_channel: ApiChannel | None = None,
    shared_text: str = "",
    settings_text: str = "",
) -> World:
    """Create a channel with one row of every model, each with `text`.

    `api_channel` is the API channel of another world to share; `shared_text` is then the text of the rows that both may
    see. `settings_text` is the text of names and templates, which people set up, instead of `text`.
    """
    text = text or f"{name} words"
    set_up = settings_text or text
    chat_channel = ChatChannelFactory(name=f"{set_up} chats")
    if api_channel is None:
        api_channel = ApiChannelFactory(name=f"{shared_text or set_up} numbers", watched=chat_channel, secret=True)
    else:
        api_channel.watched.add(chat_channel)
    person = UserFactory(username=name, first_name=set_up)
    assign_role(person, role=Role.OPERATOR, chat_channels=[chat_channel])
    world = World(api_channel=api_channel, chat_channel=chat_channel, operator=person)
    _add_chat(world, text, phone, shared_text or set_up)
    _add_desk(world, text, set_up)
    _add_failures(world, text)
    _add_secrets(world)
    return world


def _add_chat(world: World, text: str, phone: str, shared_text: str) -> None:
    contact = ContactFactory(
        api_channel=world.api_channel,
        name=f"{text} client",
        phone=phone,
        external_id=f"{text} id",
        email=f"{text.replace(' ', '.')}@example.org",
        tags=[f"{text} tag"],
    )
    conversation = ConversationFactory(
        api_channel=world.api_channel, contact=contact, chat_channel=world.chat_channel, last_text=text, unread=1
    )
    ticket = TicketFactory(conversation=conversation, subject=text, first_text=text, tags=[f"{text} tag"])
    message = MessageFactory(conversation=conversation, ticket=ticket, text=text, external_id=f"wamid.{text}")
    world.rows |= {
        "contact": contact,
        "conversation": conversation,
        "ticket": ticket,
        "message": message,
        "servicewindow": ServiceWindowFactory(conversation=conversation, left=timedelta(minutes=20)),
        "template": TemplateFactory(
            api_channel=world.api_channel,
            name=f"{shared_text} ready".replace(" ", "_"),
            body=f"{shared_text} {{{{1}}}} is ready.",
            examples=("42",),
        ),
    }
    attachment = Attachment(message=message, name=f"{text}.txt", mime="text/plain", size=len(text))
    attachment.file.save("file.txt", ContentFile(text.encode()), save=False)
    attachment.save()
    world.rows["attachment"] = attachment


def _add_desk(world: World, text: str, set_up: str) -> None:
    conversation, contact, person = world["conversation"], world["contact"], world.operator
    other = ContactFactory(api_channel=world.api_channel, name=f"{text} double", external_id=f"{text} double")
    later = timezone.now() + timedelta(days=1)
    upload = Upload(
        conversation=conversation, author=person, name=f"{text}.pdf", mime="application/pdf", size=9, expires_at=later
    )
    upload.file.save("file.pdf", ContentFile(b"%PDF-" + text.encode()), save=False)
    upload.save()
    note = ContactNote.objects.create(contact=contact, author=person, text=text)
    answer = CannedResponse.objects.create(name=set_up, text=set_up)
    answer.chat_channels.add(world.chat_channel)
    macro = Macro.objects.create(name=set_up, reply_text=set_up)
    macro.chat_channels.add(world.chat_channel)
    world.rows |= {"macro": macro, "ownmacro": Macro.objects.create(name=set_up, reply_text=set_up, owner=person)}
    world.rows["savedview"] = SavedView.objects.create(page="chats", name=set_up, filters={"q": set_up}, owner=person)
    world.rows["alertroute"] = AlertRoute.objects.create(name=set_up, kind="email", target="ops@company.example")
    team = Team.objects.create(name=set_up)
    team.chat_channels.add(world.chat_channel)
    team.members.add(person)
    Draft.objects.create(conversation=conversation, user=person, text=text)
    ContactChange.objects.create(contact=contact, note=note, field="note", old=text, new=text, source="operator")
    world.rows |= {
        "upload": upload,
        "contactnote": note,
        "cannedresponse": answer,
        "team": team,
        "heldreply": HeldReply.objects.create(conversation=conversation, author=person, text=text, drop_at=later),
        "contactmerge": merge_contacts(other.pk, contact.pk, by=person),
        "contactimport": ContactImport.objects.create(
            author=person,
            api_channel=world.api_channel,
            titles=["Phone", "Name"],
            rows=[["+79161230001", text]],
            total=1,
        ),
        "erasure": Erasure.objects.create(contact=other, by=person),
    }


def _add_failures(world: World, text: str) -> None:
    conversation, api_channel = world["conversation"], world.api_channel
    answer = MessageFactory(conversation=conversation, outbound=True, status="failed", text=text)
    delivery = DeliveryFactory(message=answer, state="dead", reason="http_status")
    Attempt.objects.create(delivery=delivery, number=1, started_at=timezone.now(), duration_ms=5, answer=text)
    world.rows |= {
        "delivery": delivery,
        "deadletter": delivery,
        "bulk_action": BulkAction.objects.create(
            action=BulkAction.Action.RESEND, selection={}, total=1, last_delivery_id=0
        ),
        "alert": Alert.objects.create(kind="stuck", api_channel=api_channel, delivery=delivery, details={"text": text}),
        "mismatch": Mismatch.objects.create(
            kind="not_sent",
            api_channel=api_channel,
            conversation=conversation,
            message=answer,
            external_id=text,
            since=timezone.now(),
        ),
        "straystatus": StrayStatus.objects.create(
            api_channel=api_channel, external_id=f"{text} stray", status="failed", title=text
        ),
        "auditrecord": AuditRecord.objects.create(action="viewed", object_type="bridge.message"),
        "webhookevent": WebhookEvent.objects.create(
            api_channel=api_channel, endpoint="webhook", body=text.encode(), state="failed", error=text
        ),
    }


def _add_secrets(world: World) -> None:
    secret = world.api_channel.current_secret()
    assert secret is not None
    _handover, token = Handover.prepare(world.api_channel, user=world.operator)
    link = template_links.create_template_link(world["conversation"])
    world.secrets = {
        "api_key": secret.reveal(),
        "path_token": world.api_channel.path_token,
        "desk_path_token": world.chat_channel.path_token,
        "app_id": str(world.api_channel.app_id),
        "handover": token,
        "file": attachment_files.build_signed_link(world["attachment"]).split("/")[-2],
        "shared": uploads.build_share_link(world["upload"]).split("/")[-2],
        "template_link": template_links.build_link_url(link).split("/")[-2],
    }
    world.rows |= {"apichannel": world.api_channel, "chatchannel": world.chat_channel, "template_link": link}


class Snapshot:
    """The rows of a world and all rows that refer to them, to compare before and after."""

    def __init__(self, *, shared: tuple[type[Model], ...] = ()) -> None:
        """Take all existing rows as the world's. Rows that refer to a model in `shared` may belong to others."""
        self.shared = shared
        self.ids = {model: set(model._default_manager.values_list("pk", flat=True)) for model in _models()}
        self.before = self._read()

    def retake(self) -> None:
        self.before = self._read()

    def changes(self) -> list[str]:
        """Return the changed, missing and new rows."""
        after = self._read()
        return [
            f"{model.__name__}: {what}"
            for model in self.before
            for what, was in self.before[model].items()
            if after[model].get(what) != was
        ] + [
            f"{model.__name__}: new row {what}"
            for model in after
            for what in set(after[model]) - set(self.before[model])
        ]

    def _read(self) -> dict[type[Model], dict[Any, Any]]:
        return {model: self._rows(model) for model in self.ids}

    def _rows(self, model: type[Model]) -> dict[Any, Any]:
        mine = Q(pk__in=self.ids[model])
        for foreign_key in model._meta.concrete_fields:
            target = foreign_key.related_model
            if foreign_key.is_relation and target not in self.shared and self.ids.get(target):
                mine |= Q(**{f"{foreign_key.name}__in": self.ids[target]})
        return {row["pk"]: row for row in model._default_manager.filter(mine).values("pk", *_columns(model))}

    def counts(self) -> Counter[str]:
        return Counter({model.__name__: len(ids) for model, ids in self.ids.items() if ids})


def _models() -> list[type[Model]]:
    ours = [model for app in APPS for model in apps.get_app_config(app).get_models(include_auto_created=True)]
    return [*ours, get_user_model()]


def _columns(model: type[Model]) -> list[str]:
    return [column.attname for column in model._meta.concrete_fields]
