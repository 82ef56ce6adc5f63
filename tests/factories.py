"""Factories of rows, and the cast: Anna writes, Boris answers, Vera is the admin, Gleb has no access.

A factory creates the simplest realistic row and no side effects of receiving (counters, windows, events). Tests of
those create their rows with `bridge.conversations.receiving.receive_messages`. Users sign in with
`client.force_login(boris())`, because axes rejects `client.login`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from bridge.models import Contact, Conversation, Delivery, Message, ServiceWindow, Ticket
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.roles import Role, assign_role
from config.accounts.models import ApiToken
from templates_registry import lifecycle
from templates_registry.models import Status, Template

PASSWORD = "korabl-i-more-7"


class UserFactory(factory.django.DjangoModelFactory):
    """A user without a role, whose password is PASSWORD."""

    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    password = factory.django.Password(PASSWORD)


class ChatChannelFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ChatChannel

    name = factory.Sequence(lambda n: f"Магазин {n}")


class ApiChannelFactory(factory.django.DjangoModelFactory):
    """A live sandbox channel. `watched=` takes a chat channel or a list; the default is a new one.

    Use `redirect_url=receiver.url("/hook"), kind="acebot"` for a channel that posts. `secret=True` issues a key: read
    it with `channel.current_secret().reveal()`.
    """

    class Meta:
        model = ApiChannel
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"WhatsApp {n}")
    kind = "sandbox"
    state = ChannelState.LIVE

    @factory.post_generation
    def watched(self: Any, create: bool, extracted: Any, **kwargs: Any) -> None:
        if extracted is None:
            extracted = ChatChannelFactory(**kwargs)
        self.watched.set(extracted if isinstance(extracted, list | tuple) else [extracted])

    @factory.post_generation
    def secret(self: Any, create: bool, extracted: Any, **kwargs: Any) -> None:
        if extracted:
            self.issue_secret()


class ContactFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Contact

    api_channel = factory.SubFactory(ApiChannelFactory)
    external_id = factory.Sequence(lambda n: f"client-{n}")
    phone = factory.Sequence(lambda n: f"+7921{n:07d}")
    name = "Анна Петрова"


class ConversationFactory(factory.django.DjangoModelFactory):
    """A chat with a new contact, in the chat channel of its API channel. It has no window and no request."""

    class Meta:
        model = Conversation

    class Params:
        name = "Анна Петрова"

    api_channel = factory.SubFactory(ApiChannelFactory)
    contact = factory.SubFactory(
        ContactFactory,
        api_channel=factory.SelfAttribute("..api_channel"),
        name=factory.SelfAttribute("..name"),
    )
    chat_channel = factory.LazyAttribute(lambda made: made.api_channel.default_chat_channel or ChatChannelFactory())


class TicketFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Ticket

    conversation = factory.SubFactory(ConversationFactory)
    status = Ticket.Status.NEW
    subject = "Здравствуйте!"
    first_text = "Здравствуйте!"


class MessageFactory(factory.django.DjangoModelFactory):
    """Anna's message; with `outbound=True`, Boris's reply."""

    class Meta:
        model = Message

    class Params:
        outbound = factory.Trait(direction=Message.Direction.OUTBOUND, status=Message.Status.SENT, external_id="")

    conversation = factory.SubFactory(ConversationFactory)
    api_channel = factory.SelfAttribute("conversation.api_channel")
    direction = Message.Direction.INBOUND
    kind = Message.Kind.TEXT
    text = "Здравствуйте! Сапоги 38-го размера есть?"
    external_id = factory.Sequence(lambda n: f"wamid.{n}")
    status = Message.Status.RECEIVED


class ServiceWindowFactory(factory.django.DjangoModelFactory):
    """An open window. `left=timedelta(minutes=20)` is the time until it expires; negative if it has expired."""

    class Meta:
        model = ServiceWindow

    class Params:
        left = timedelta(hours=23)

    conversation = factory.SubFactory(ConversationFactory)
    expires_at = factory.LazyAttribute(lambda made: timezone.now() + made.left)
    opened_at = factory.LazyAttribute(lambda made: made.expires_at - timedelta(hours=24))
    state = ServiceWindow.State.OPEN


class DeliveryFactory(factory.django.DjangoModelFactory):
    """The delivery of Boris's reply to the contact; with `event=True`, of an event to a subscriber."""

    class Meta:
        model = Delivery

    class Params:
        event = factory.Trait(kind=Delivery.Kind.EVENT, free_text=False, track="message")

    message = factory.SubFactory(MessageFactory, outbound=True, status=Message.Status.PENDING)
    conversation = factory.SelfAttribute("message.conversation")
    api_channel = factory.SelfAttribute("conversation.api_channel")
    kind = Delivery.Kind.MESSAGE
    free_text = True
    payload = factory.LazyAttribute(lambda made: _payload(made.conversation, made.message.text if made.message else ""))


class TemplateFactory(factory.django.DjangoModelFactory):
    """An approved template with its first version and event: `body="Здравствуйте, {{1}}!"`, `examples=["Анна"]`.

    Further components have the Graph API's shape: `header={"format": "TEXT", "text": "…"}`, `footer="…"`,
    `buttons=[{"type": "QUICK_REPLY", "text": "…"}]`.
    """

    class Meta:
        model = Template

    class Params:
        body = "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче."
        examples = ("Анна", "№ 42")
        header = None
        footer = ""
        buttons = ()

    api_channel = factory.SubFactory(ApiChannelFactory)
    name = factory.Sequence(lambda n: f"order_ready_{n}")
    language = "ru"
    status = Status.APPROVED
    components = factory.LazyAttribute(lambda made: _components(made))

    @classmethod
    def _create(cls, model_class: type[Template], *args: Any, **kwargs: Any) -> Template:
        return lifecycle.create(model_class(*args, **kwargs), by=lifecycle.ChangeAuthor(source=lifecycle.Source.MANUAL))


def _components(made: Any) -> list[dict[str, Any]]:
    body: dict[str, Any] = {"type": "BODY", "text": made.body}
    if made.examples and "{{" in made.body:
        body["example"] = {"body_text": [list(made.examples)]}
    found = [{"type": "HEADER", **made.header}] if made.header else []
    found.append(body)
    found += [{"type": "FOOTER", "text": made.footer}] if made.footer else []
    found += [{"type": "BUTTONS", "buttons": list(made.buttons)}] if made.buttons else []
    return found


def _payload(conversation: Conversation, text: str) -> dict[str, Any]:
    contact = conversation.contact
    return {
        "event": {"chat_id": conversation.pk, "from": "user", "text": text},
        "text": text,
        "contact": {"external_id": contact.external_id, "phone": contact.phone},
        "files": [],
    }


def copies(row: Any, count: int, **changed: str) -> int:
    """Insert `count` copies of a row and return the first ID. `changed` has SQL for columns; `n` counts from 0.

    Foreign keys are not checked: for a hundred thousand rows that would take longer than everything else.
    """
    columns = [field.column for field in row._meta.concrete_fields if not field.primary_key]
    picked = ", ".join(changed.get(column, f't."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            f"""INSERT INTO {row._meta.db_table} ({names})
                SELECT {picked} FROM {row._meta.db_table} t, generate_series(0, {count - 1}) n WHERE t.id = %s""",
            [row.pk],
        )
        cursor.execute("SET LOCAL session_replication_role = origin")
    newest: int = type(row).objects.latest("pk").pk
    return newest - count + 1


# --- the cast --------------------------------------------------------------------------------------------


def vera() -> Any:
    """Return the admin."""
    return _person("vera", Role.ADMIN)


def boris(*chat_channels: ChatChannel) -> Any:
    """Return an operator of these chat channels."""
    return _person("boris", Role.OPERATOR, chat_channels)


def operator(name: str, *chat_channels: ChatChannel, **fields: Any) -> Any:
    """Return another operator of these chat channels."""
    return _person(name, Role.OPERATOR, chat_channels, **fields)


def gleb() -> Any:
    """Return an operator without a chat channel."""
    return _person("gleb", Role.OPERATOR)


def token_of(user: Any) -> dict[str, str]:
    """Return the API token header of a user: `client.get(url, headers=token_of(boris()))`."""
    return {"authorization": f"Token {ApiToken.issue(user, name='test')[1]}"}


def _person(name: str, role: Role, chat_channels: Iterable[ChatChannel] = (), **fields: Any) -> Any:
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        user = UserFactory(username=name, **fields)
        assign_role(user, role=role)
    for chat_channel in chat_channels:
        chat_channel.operators.add(user)
    return user


def waits(delivery: Delivery) -> float:
    """Return the seconds between the last attempt and the next. Not from now: a busy machine may ask late."""
    last = delivery.tries.order_by("number").last()
    assert last is not None and delivery.next_attempt_at is not None
    return (delivery.next_attempt_at - last.started_at).total_seconds()
