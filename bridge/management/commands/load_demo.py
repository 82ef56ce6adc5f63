"""Load the demo: two users, a chat channel, a training phone, and chats in every state.

All messages pass through the normal data flow (inbox, relay, outbox).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError
from django.db import transaction

from bridge.conversations import tickets
from bridge.inbox import processing
from bridge.maintenance import housekeeping
from bridge.models import Conversation, Message, Ticket
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers import messengers
from channels_setup.providers.base import ContactInfo, MessageReceived, StatusChanged, TimePassed
from channels_setup.provisioning import add_api_channel
from channels_setup.roles import Role, assign_role
from templates_registry.provider import provider_sync

SHOP = "Магазин на Лиговском"
PHONE = "Телефон для тренировки"


@dataclass(frozen=True)
class ClientMessage:
    """The client writes a message."""

    text: str


@dataclass(frozen=True)
class OperatorReply:
    """The operator replies; ``status`` is the final status of the message."""

    text: str
    status: str = Message.Status.READ


@dataclass(frozen=True)
class TimePassing:
    """This much time passes."""

    hours: float


@dataclass(frozen=True)
class RequestClosed:
    """The operator closes the request."""


ScriptStep = ClientMessage | OperatorReply | TimePassing | RequestClosed

CHATS: tuple[tuple[str, str, tuple[ScriptStep, ...]], ...] = (
    (
        "Олег Кравцов",  # the window is closed
        "+79215550104",
        (
            ClientMessage("Добрый день! Можно вернуть кроссовки, если коробку уже выбросили?"),
            TimePassing(0.1),
            OperatorReply("Здравствуйте, Олег! Можно, если сохранились чек и бирки. Приходите с паспортом."),
            TimePassing(0.2),
            ClientMessage("Спасибо, бирки на месте. Чек поищу"),
            TimePassing(49),
        ),
    ),
    (
        "Игорь Лебедев",  # a missed window: no reply in time
        "+79215550105",
        (
            ClientMessage("Здравствуйте. Пришёл не тот цвет: заказывал серый, а привезли синий. Что делать?"),
            TimePassing(26),
        ),
    ),
    (
        "Мария Соколова",  # the window closes soon
        "+79215550102",
        (ClientMessage("Когда приедет мой заказ № 4417? Обещали вчера"), TimePassing(23.4)),
    ),
    (
        "Елена Ким",  # a closed request, and a new one in the same chat
        "+79215550106",
        (
            ClientMessage("Подскажите, а подарочные сертификаты у вас есть?"),
            TimePassing(0.1),
            OperatorReply("Есть, на 3 000, 5 000 и 10 000 ₽. Можно купить в магазине или на сайте."),
            RequestClosed(),
            TimePassing(20),
            ClientMessage("Купила на сайте, а письмо с сертификатом не пришло 🙁"),
            TimePassing(2.5),
        ),
    ),
    (
        "Анна Петрова",  # an active chat
        "+79215550101",
        (
            ClientMessage("Здравствуйте! Сапоги «Нева» 38-го размера ещё есть?"),
            TimePassing(0.05),
            OperatorReply("Здравствуйте, Анна! Да, остались две пары: чёрная и бордовая. Отложить?"),
            TimePassing(0.1),
            ClientMessage("Чёрную, пожалуйста! Заберу в субботу"),
            TimePassing(0.05),
            OperatorReply("Отложили до субботы, 20:00. Лиговский проспект, 30. Ждём вас!", Message.Status.DELIVERED),
            TimePassing(0.3),
        ),
    ),
    (
        "Дарья Белова",  # just now, unanswered
        "+79215550103",
        (
            ClientMessage("Добрый вечер! Вы работаете в воскресенье?"),
            TimePassing(0.03),
            ClientMessage("И можно ли с собакой? 🐕"),
        ),
    ),
)


class Command(BaseCommand):
    help = "Load the demo: users vera (admin) and boris (operator), a training phone and some chats. Can be repeated."

    def handle(self, *args: Any, **options: Any) -> None:
        self.get_user("vera", "Вера", Role.ADMIN)
        boris = self.get_user("boris", "Борис", Role.OPERATOR)
        chat_channel = ChatChannel.objects.filter(name=SHOP).first() or ChatChannel.objects.create(name=SHOP)
        chat_channel.operators.add(boris)
        api_channel = get_training_phone(chat_channel)
        provider_sync.sync_channel(api_channel)
        played = sum(play_chat(api_channel, boris, number=number) for number in range(len(CHATS)))
        housekeeping.expire_windows()
        self.stdout.write(f"The demo is loaded: vera (admin), boris (operator), “{SHOP}”, {played} new chats.")

    def get_user(self, name: str, first_name: str, role: Role) -> Any:
        """Return the demo user, with the password from the settings."""
        password = settings.DEMO_PASSWORDS[role]
        if not password:
            raise CommandError(f"Set DEMO_{role.upper()}_PASSWORD in the environment.")
        user, _ = get_user_model().objects.get_or_create(username=name, defaults={"first_name": first_name})
        if not user.check_password(password):
            user.set_password(password)
            user.save()
        assign_role(user, role=role)
        return user


def get_training_phone(chat_channel: ChatChannel) -> ApiChannel:
    """Return the training phone of this chat channel; add one if it has none."""
    kind = next(kind for kind, provider in messengers().items() if provider.has_training_phone)
    phone = chat_channel.watchers.filter(kind=kind).first()
    return phone or add_api_channel(chat_channel=chat_channel, kind=kind, name=PHONE)


def play_chat(api_channel: ApiChannel, operator: Any, *, number: int) -> bool:
    """Play all steps of one chat. Return False if it was played before."""
    name, phone, steps = CHATS[number]
    contact = ContactInfo(external_id=f"demo-{number + 1}", name=name, phone=phone)
    chat = Conversation.objects.filter(api_channel=api_channel, contact__external_id=contact.external_id)
    if chat.exists():
        return False
    ids = count(1)
    for step in steps:
        if isinstance(step, ClientMessage):
            external_id = f"{contact.external_id}-{next(ids)}"
            apply_fact(api_channel, MessageReceived(contact=contact, text=step.text, external_id=external_id))
        elif isinstance(step, TimePassing):
            apply_fact(api_channel, TimePassed(contact=contact, seconds=int(step.hours * 3600)))
        elif isinstance(step, OperatorReply):
            send_reply(chat.get(), step, operator)
        else:
            ticket = tickets.get_current_ticket(chat.get())
            assert ticket is not None
            tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED, by=operator.pk)
    return True


@transaction.atomic
def apply_fact(api_channel: ApiChannel, fact: MessageReceived | StatusChanged | TimePassed) -> None:
    processing.apply_facts(api_channel, [fact])


def send_reply(chat: Conversation, step: OperatorReply, operator: Any) -> None:
    tickets.assign_chat(chat.pk, user_id=operator.pk, by=operator.pk)
    submitted = reply_submission.submit_reply(conversation_id=chat.pk, text=step.text, author=operator)
    assert submitted.message is not None
    dispatcher.send_due_deliveries()
    for status in list_statuses(step.status):
        apply_fact(chat.api_channel, StatusChanged(message_id=submitted.message.pk, status=status))


def list_statuses(until: str) -> Iterator[str]:
    """Yield the statuses that a phone reports, up to and including ``until``."""
    yield Message.Status.DELIVERED
    if until == Message.Status.READ:
        yield Message.Status.READ
