"""The demo: two people, a shop, a phone on a web page, and chats in every state a newcomer should see.

Everything said takes the way that real words take (facts in, relay, outbox), so the demo shows what the code does.
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
class Client:
    """The client wrote."""

    text: str


@dataclass(frozen=True)
class Operator:
    """The operator answered; ``status`` is what became of it."""

    text: str
    status: str = Message.Status.READ


@dataclass(frozen=True)
class Later:
    """Time passed."""

    hours: float


@dataclass(frozen=True)
class Closed:
    """The request was closed."""


Step = Client | Operator | Later | Closed

CHATS: tuple[tuple[str, str, tuple[Step, ...]], ...] = (
    (
        "Олег Кравцов",  # the window is closed
        "+79215550104",
        (
            Client("Добрый день! Можно вернуть кроссовки, если коробку уже выбросили?"),
            Later(0.1),
            Operator("Здравствуйте, Олег! Можно, если сохранились чек и бирки. Приходите с паспортом."),
            Later(0.2),
            Client("Спасибо, бирки на месте. Чек поищу"),
            Later(49),
        ),
    ),
    (
        "Игорь Лебедев",  # a missed window: nobody answered in time
        "+79215550105",
        (Client("Здравствуйте. Пришёл не тот цвет: заказывал серый, а привезли синий. Что делать?"), Later(26)),
    ),
    (
        "Мария Соколова",  # the window closes soon
        "+79215550102",
        (Client("Когда приедет мой заказ № 4417? Обещали вчера"), Later(23.4)),
    ),
    (
        "Елена Ким",  # a closed request, and the same chat resumed
        "+79215550106",
        (
            Client("Подскажите, а подарочные сертификаты у вас есть?"),
            Later(0.1),
            Operator("Есть, на 3 000, 5 000 и 10 000 ₽. Можно купить в магазине или на сайте."),
            Closed(),
            Later(20),
            Client("Купила на сайте, а письмо с сертификатом не пришло 🙁"),
            Later(2.5),
        ),
    ),
    (
        "Анна Петрова",  # a lively chat
        "+79215550101",
        (
            Client("Здравствуйте! Сапоги «Нева» 38-го размера ещё есть?"),
            Later(0.05),
            Operator("Здравствуйте, Анна! Да, остались две пары: чёрная и бордовая. Отложить?"),
            Later(0.1),
            Client("Чёрную, пожалуйста! Заберу в субботу"),
            Later(0.05),
            Operator("Отложили до субботы, 20:00. Лиговский проспект, 30. Ждём вас!", Message.Status.DELIVERED),
            Later(0.3),
        ),
    ),
    (
        "Дарья Белова",  # just now, unanswered
        "+79215550103",
        (Client("Добрый вечер! Вы работаете в воскресенье?"), Later(0.03), Client("И можно ли с собакой? 🐕")),
    ),
)


class Command(BaseCommand):
    help = (
        "Load the demo: vera (admin), boris (operator), a chat channel, a training phone, and some chats. Repeatable."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.person("vera", "Вера", Role.ADMIN)
        boris = self.person("boris", "Борис", Role.OPERATOR)
        chat_channel = ChatChannel.objects.filter(name=SHOP).first() or ChatChannel.objects.create(name=SHOP)
        chat_channel.operators.add(boris)
        api_channel = phone_in(chat_channel)
        provider_sync.sync_channel(api_channel)
        played = sum(play(api_channel, boris, number=number) for number in range(len(CHATS)))
        housekeeping.expire_windows()
        self.stdout.write(f"The demo is loaded: vera (admin), boris (operator), “{SHOP}”, {played} new chats.")

    def person(self, name: str, first_name: str, role: Role) -> Any:
        """The demo's user, with the password that the start line names."""
        password = settings.DEMO_PASSWORDS[role]
        if not password:
            raise CommandError(f"Set DEMO_{role.upper()}_PASSWORD in the environment.")
        user, _ = get_user_model().objects.get_or_create(username=name, defaults={"first_name": first_name})
        if not user.check_password(password):
            user.set_password(password)
            user.save()
        assign_role(user, role=role)
        return user


def phone_in(chat_channel: ChatChannel) -> ApiChannel:
    """The training phone that lands in this chat channel."""
    kind = next(kind for kind, provider in messengers().items() if provider.has_training_phone)
    phone = chat_channel.watchers.filter(kind=kind).first()
    return phone or add_api_channel(chat_channel=chat_channel, kind=kind, name=PHONE)


def play(api_channel: ApiChannel, operator: Any, *, number: int) -> bool:
    """Play one chat from its first word to its last. False where it has been played before."""
    name, phone, steps = CHATS[number]
    contact = ContactInfo(external_id=f"demo-{number + 1}", name=name, phone=phone)
    chat = Conversation.objects.filter(api_channel=api_channel, contact__external_id=contact.external_id)
    if chat.exists():
        return False
    ids = count(1)
    for step in steps:
        if isinstance(step, Client):
            external_id = f"{contact.external_id}-{next(ids)}"
            hear(api_channel, MessageReceived(contact=contact, text=step.text, external_id=external_id))
        elif isinstance(step, Later):
            hear(api_channel, TimePassed(contact=contact, seconds=int(step.hours * 3600)))
        elif isinstance(step, Operator):
            answer(chat.get(), step, operator)
        else:
            ticket = tickets.get_current_ticket(chat.get())
            assert ticket is not None
            tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED, by=operator.pk)
    return True


@transaction.atomic
def hear(api_channel: ApiChannel, fact: MessageReceived | StatusChanged | TimePassed) -> None:
    processing.apply_facts(api_channel, [fact])


def answer(chat: Conversation, step: Operator, operator: Any) -> None:
    tickets.assign_chat(chat.pk, user_id=operator.pk, by=operator.pk)
    handed = reply_submission.submit_reply(conversation_id=chat.pk, text=step.text, author=operator)
    assert handed.message is not None
    dispatcher.send_due_deliveries()
    for status in ticks(step.status):
        hear(chat.api_channel, StatusChanged(message_id=handed.message.pk, status=status))


def ticks(until: str) -> Iterator[str]:
    """The statuses that a phone reports one after the other."""
    yield Message.Status.DELIVERED
    if until == Message.Status.READ:
        yield Message.Status.READ
