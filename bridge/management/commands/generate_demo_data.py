"""Generate a large, realistic data set for benchmarks of the desk. Never run it on a portal in use.

The rows are inserted by SQL in batches of chats, and the indexes of a large data set are built at the end. The normal
data flow (see ``load_demo``) would take hours. The result is the same: messages, requests, windows. Some chats have
teams, tags and notes, and a large data set has a few very long chats.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import connection, models, transaction

from bridge.channel_health import alerts
from bridge.management.bulk_load import bulk_load
from bridge.models import (
    Alert,
    CircuitBreaker,
    Contact,
    ContactNote,
    Conversation,
    ConversationNote,
    Delivery,
    Message,
    ServiceWindow,
    Ticket,
)
from channels_setup.models import ApiChannel, ChannelState, ChatChannel, Team
from channels_setup.providers import messengers
from channels_setup.provisioning import add_api_channel
from channels_setup.roles import Role, assign_role

BATCH_SIZE = 10_000
BULK_SIZE = 50_000  # from here on, indexes are built at the end
# Name and percentage of all chats. The provider of the last channel fails.
CHANNELS = (("Обувь: магазин", 60), ("Обувь: доставка", 30), ("Опт и партнёры", 8), ("Сервис и ремонт", 2))
TEAMS = ("Возвраты", "Опт")
OPERATORS = ("Лена Громова", "Тимур Асадов", "Ольга Крылова", "Пётр Снегов", "Нина Бойко", "Артём Жук")

WOMEN_NAMES = (
    "Анна Мария Елена Ольга Наталья Екатерина Ирина Татьяна Светлана Юлия Дарья Алёна Вера Полина Ксения".split()
)
MEN_NAMES = (
    "Иван Алексей Дмитрий Сергей Андрей Михаил Пётр Николай Владимир Артём Павел Роман Игорь Кирилл Фёдор".split()
)
FAMILY_NAMES = (
    "Соколов Панин Гусев Лапин Кравцов Белов Лебедев Орлов Зайцев Тихонов Воронин Фролов Комаров Ершов Киселёв "
    "Макаров Андреев Ковалёв Ильин Гущин Титов Кузьмин Кудрявцев Баранов Куликов Алексеев Степанов Яковлев Сорокин"
).split()
CLIENT_TEXTS = (
    "Здравствуйте! Когда приедет мой заказ № {n}?|Добрый день, сапоги «Нева» 38-го размера ещё есть?|Спасибо большое!|"
    "Можно вернуть кроссовки, если коробку уже выбросили?|Пришёл не тот цвет: заказывал серый, а привезли синий|"
    "А до скольки вы сегодня работаете?|Счёт так и не пришёл, пришлите ещё раз|Можно оплатить картой курьеру?|"
    "Подскажите адрес склада|Хочу поменять размер на 41|Где посмотреть номер отправления?|Ещё актуально?|"
    "Молния разошлась через неделю, что делать?|Вы работаете в воскресенье?|Отлично, жду!|Курьер не позвонил|"
    "Hello, do you ship to Kazakhstan?|А подарочные сертификаты у вас есть?|Нужен чек за покупку № {n}|Ау, вы тут?"
).split("|")
OPERATOR_TEXTS = (
    "Здравствуйте! Заказ № {n} уже в пути, курьер будет завтра с 14 до 18.|Да, остались две пары. Отложить для вас?|"
    "Можно, если сохранились бирки. Приходите с паспортом.|Извините за путаницу! Заберём и привезём верный цвет.|"
    "Сегодня работаем до 21:00.|Отправили счёт на вашу почту ещё раз.|Да, курьер принимает карты.|"
    "Лиговский проспект, 30, вход со двора.|Поменяем, привозите в любой день.|Номер отправления пришёл вам в СМС.|"
    "Сейчас уточню и вернусь с ответом.|Пожалуйста! Хорошего дня!|Да, отправляем почтой, около двух недель."
).split("|")

# A few chats from today, some from this week, most of them older, as on a desk after two years.
CREATE_PLAN = """
CREATE TEMP TABLE plan ON COMMIT DROP AS
SELECT *, last_at - pace * messages AS first_at,
    -- Tags that many, some and few requests have, and one that only old requests have.
    array_remove(ARRAY[CASE WHEN h %% 20 = 1 THEN 'возврат' END, CASE WHEN h %% 100 = 2 THEN 'опт' END,
        CASE WHEN h %% 500 = 3 THEN 'VIP' END,
        CASE WHEN h %% 50 = 4 AND last_at < now() - interval '1 year' THEN 'каталог 2024' END], NULL) AS tags
FROM (SELECT n, abs(hashint4(n)) AS h, nextval(pg_get_serial_sequence('bridge_contact', 'id')) AS contact,
    nextval(pg_get_serial_sequence('bridge_conversation', 'id')) AS chat,
    nextval(pg_get_serial_sequence('bridge_ticket', 'id')) AS ticket,
    nextval(pg_get_serial_sequence('bridge_servicewindow', 'id')) AS win,
    c.place, (%(chats)s)[c.place] AS chat_channel, (%(apis)s)[c.place] AS api_channel, last_at,
    CASE WHEN a < .7 THEN (%(operators)s)[1 + (a * 100)::int %% cardinality(%(operators)s)] END AS assignee,
    CASE WHEN b < .45 THEN 'inbound' ELSE 'outbound' END AS direction,
    CASE WHEN last_at > now() - interval '1 day' THEN CASE WHEN d < .4 AND b < .45 THEN 8 WHEN d < .85 THEN 1
                                                      WHEN d < .9 THEN 6 WHEN d < .95 THEN 2 ELSE 3 END
         WHEN d < .9 THEN 3 WHEN d < .94 THEN 2 WHEN d < .96 THEN 1 WHEN d < .97 THEN 6 WHEN d < .98 THEN 5
         ELSE 7 END AS status,
    CASE WHEN c.team < .2 THEN (%(teams)s)[1 + (c.team * 100)::int %% cardinality(%(teams)s)] END AS team,
    CASE WHEN n = 40000 THEN 10000 WHEN n %% 50000 = 40040 THEN 2000
         ELSE greatest(2, (%(messages)s * (.4 + random() * 1.2))::int) END AS messages, random() AS missed,
    interval '1 minute' * (2 + random() * 300) / CASE WHEN n %% 50000 IN (40000, 40040) THEN 20 ELSE 1 END AS pace
FROM (SELECT n, random() AS a, random() AS b, random() AS d, random() * 100 AS p,
          now() - CASE WHEN n %% 40 = 0 THEN interval '1 day' * random()
                       WHEN n %% 12 = 0 THEN interval '1 day' * (1 + random() * 7)
                       ELSE interval '1 day' * (8 + 700 * random() * random()) END AS last_at
      FROM generate_series(%(begin)s, %(end)s) n) made
CROSS JOIN LATERAL (SELECT CASE WHEN p < 60 THEN 1 WHEN p < 90 THEN 2 WHEN p < 98 THEN 3 ELSE 4 END AS place,
    random() + n * 0 AS team) c) planned
"""
SELECT_CONTACTS = """
SELECT contact, api_channel, 'data-' || n,
    '7' || lpad((9000000000 + (n::bigint * 7919077) %% 999999999)::text, 10, '0'),
    CASE WHEN n %% 11 = 0 THEN '' WHEN h %% 2 = 0
         THEN (%(women)s)[1 + (h / 2) %% cardinality(%(women)s)] || ' ' || family || 'а'
         ELSE (%(men)s)[1 + (h / 2) %% cardinality(%(men)s)] || ' ' || family END,
    first_at, CASE WHEN h %% 30 = 5 THEN '["постоянный"]' WHEN h %% 900 = 6 THEN '["VIP"]' ELSE '[]' END::jsonb,
    '7' || lpad((9000000000 + (n::bigint * 7919077) %% 999999999)::text, 10, '0')
FROM plan CROSS JOIN LATERAL (SELECT (%(families)s)[1 + (h / 64) %% cardinality(%(families)s)] AS family) named
"""
SELECT_CHATS = """
SELECT p.chat, p.api_channel, p.chat_channel, p.contact, p.assignee, p.team, p.first_at, p.status,
    p.last_at, left(m.text, 200), p.direction,
    CASE WHEN p.direction = 'inbound' AND p.status IN (1, 8) THEN 1 + p.messages %% 3 ELSE 0 END,
    CASE WHEN p.n %% 200 = 7 AND p.direction = 'outbound' AND p.status = 1 THEN now() + interval '3 hours' END
FROM plan p JOIN texts m ON m.n = p.n AND m.k = p.messages
"""
CREATE_TEXTS = """
CREATE TEMP TABLE texts ON COMMIT DROP AS
SELECT n, k, direction, replace(
    CASE WHEN direction = 'inbound' THEN (%(client_texts)s)[1 + ((h / 8 + k * 7) %% cardinality(%(client_texts)s))]
         ELSE (%(operator_texts)s)[1 + ((h / 16 + k * 5) %% cardinality(%(operator_texts)s))] END,
    '{n}', (4000 + n %% 5000)::text) AS text
FROM (SELECT n, h, k, CASE WHEN (p.messages - k) %% 2 = 0 THEN p.direction
                        WHEN p.direction = 'inbound' THEN 'outbound' ELSE 'inbound' END AS direction
      FROM plan p CROSS JOIN LATERAL generate_series(1, p.messages) k) x
"""
SELECT_TICKETS = """
SELECT p.ticket, p.chat, p.status, left(m.text, 80), m.text, p.assignee,
    p.last_at - p.pace * (p.messages - 1), p.last_at,
    CASE WHEN p.messages > 1 THEN p.last_at - p.pace * (p.messages - 2) END,
    CASE WHEN p.status IN (2, 3, 7) THEN p.last_at END, p.team, p.tags
FROM plan p JOIN texts m ON m.n = p.n AND m.k = 1
"""
SELECT_MESSAGES = """
SELECT p.chat, p.api_channel, p.ticket, m.direction, 'text', m.text,
    CASE WHEN m.direction = 'outbound' THEN p.assignee END,
    CASE WHEN m.direction = 'inbound' THEN 'data-' || p.n || '-' || m.k ELSE '' END,
    CASE WHEN m.direction = 'inbound' THEN p.last_at - p.pace * (p.messages - m.k) END,
    p.last_at - p.pace * (p.messages - m.k),
    CASE WHEN m.direction = 'inbound' THEN 'received'
         WHEN p.place = 4 AND p.last_at > now() - interval '1 day' AND m.k = p.messages THEN 'failed'
         WHEN m.k %% 3 = 0 THEN 'delivered' ELSE 'read' END,
    CASE WHEN p.place = 4 AND m.direction = 'outbound' AND p.last_at > now() - interval '1 day' AND m.k = p.messages
         THEN 'rejected' ELSE '' END
FROM plan p JOIN texts m ON m.n = p.n ORDER BY p.last_at, p.n, m.k
"""
SELECT_WINDOWS = """
SELECT win, chat, wrote_at, wrote_at + interval '1 day',
    CASE WHEN wrote_at > now() - interval '1 day' THEN 'open' ELSE 'closed' END,
    CASE WHEN direction = 'outbound' THEN last_at END,
    CASE WHEN wrote_at <= now() - interval '1 day' THEN direction = 'inbound' AND missed < .3 END,
    CASE WHEN wrote_at <= now() - interval '1 day' THEN assignee END
FROM (SELECT *, CASE WHEN direction = 'inbound' THEN last_at ELSE last_at - pace END AS wrote_at FROM plan) p
"""
SELECT_CHAT_NOTES = """
SELECT chat, ticket, assignee, 'Клиент ждёт возврат за заказ № ' || 4000 + n %% 5000, last_at - pace / 2
FROM plan WHERE h %% 50 = 7
"""
SELECT_CONTACT_NOTES = """
SELECT contact, assignee, 'Просит скидку, звонить после ' || 9 + n %% 9, first_at FROM plan WHERE h %% 100 = 8
"""
SELECT_DEAD_LETTERS = """
SELECT 'message', m.conversation_id, m.id, m.api_channel_id, '', 'data_' || m.id, '{}'::jsonb, TRUE, 'dead', 8, 0,
    m.created_at, 'rejected', m.created_at, m.created_at
FROM bridge_message m JOIN plan p ON p.chat = m.conversation_id
WHERE m.status = 'failed' AND m.id > %(last_message)s
"""


@dataclass(frozen=True)
class BulkInsert:
    """Bulk insert into one table. ``columns`` are in the order of the ``select`` that fills them."""

    model: type[models.Model]
    columns: str
    select: str

    def statement(self) -> tuple[str, dict[str, Any]]:
        """Return the INSERT statement and its parameters. Other columns get Django's default values."""
        columns = self.columns.split()
        rest = {
            str(each.column): each.get_db_prep_save(each.get_default(), connection)
            for each in self.model._meta.concrete_fields
            if each.column not in (*columns, "id") and not each.null and each.db_default is models.NOT_PROVIDED
        }
        names = ", ".join([*columns, *rest])
        values = "".join(f", %({name})s" for name in rest)
        table = self.model._meta.db_table
        return f"INSERT INTO {table} ({names}) SELECT filled.*{values} FROM ({self.select}) filled", rest


BULK_INSERTS = (
    BulkInsert(Contact, "id api_channel_id external_id phone name created_at tags phone_key", SELECT_CONTACTS),
    BulkInsert(
        Conversation,
        "id api_channel_id chat_channel_id contact_id assignee_id team_id created_at request_status "
        "last_message_at last_text last_direction unread snoozed_until",
        SELECT_CHATS,
    ),
    BulkInsert(
        Ticket,
        "id conversation_id status subject first_text assignee_id opened_at updated_at first_answer_at closed_at "
        "team_id tags",
        SELECT_TICKETS,
    ),
    BulkInsert(
        Message,
        "conversation_id api_channel_id ticket_id direction kind text author_id external_id "
        "provider_time created_at status reason",
        SELECT_MESSAGES,
    ),
    BulkInsert(
        ServiceWindow,
        "id conversation_id opened_at expires_at state first_reply_at missed assignee_id",
        SELECT_WINDOWS,
    ),
    BulkInsert(ConversationNote, "conversation_id ticket_id author_id text created_at", SELECT_CHAT_NOTES),
    BulkInsert(ContactNote, "contact_id author_id text created_at", SELECT_CONTACT_NOTES),
    BulkInsert(
        Delivery,
        "kind conversation_id message_id api_channel_id track key payload free_text state "
        "attempts attempts_before next_attempt_at reason created_at finished_at",
        SELECT_DEAD_LETTERS,
    ),
)


class Command(BaseCommand):
    help = "Fill the database with SIZE realistic chats. For benchmarks only."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--size", type=int, default=10_000, help="Number of chats.")
        parser.add_argument("--messages", type=int, default=10, help="Messages of a chat, on average.")

    def handle(self, *args: Any, size: int, messages: int, **options: Any) -> None:
        if not 1 <= size <= 5_000_000:
            raise CommandError("--size must be between 1 and 5000000.")
        if not 2 <= messages <= 1_000:
            raise CommandError("--messages must be between 2 and 1000.")
        if ChatChannel.objects.filter(name=CHANNELS[0][0]).exists():
            raise CommandError("The data set exists already. Use an empty DATA_DIR to generate another one.")
        tables = [insert.model._meta.db_table for insert in BULK_INSERTS]
        values = self.create_channels() | {"messages": messages}
        with bulk_load(tables) if size >= BULK_SIZE else nullcontext():
            for begin in range(1, size + 1, BATCH_SIZE):
                end = min(begin + BATCH_SIZE - 1, size)
                self.insert_batch(values | {"begin": begin, "end": end})
                self.stdout.write(f"{end} of {size} chats")
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"VACUUM ANALYZE {table}")

    def create_channels(self) -> dict[str, Any]:
        """Create channels and operators. Set an operator's password with `manage.py changepassword`."""
        chat_channels = [ChatChannel.objects.create(name=name) for name, _share in CHANNELS]
        kind = next(kind for kind, provider in messengers().items() if provider.has_training_phone)
        apis = [add_api_channel(chat_channel=each, kind=kind, name=f"WhatsApp · {each.name}") for each in chat_channels]
        operators = [self.create_operator(number, name, chat_channels) for number, name in enumerate(OPERATORS, 1)]
        teams = [Team.objects.create(name=name) for name in TEAMS]
        for team in teams:
            team.chat_channels.set(chat_channels)
            team.members.set(operators[:2])
        ApiChannel.objects.filter(pk=apis[-1].pk).update(state=ChannelState.FAILING, last_error="cannot_connect")
        CircuitBreaker.objects.create(api_channel=apis[-1], is_open=True, consecutive_failures=12, backoff_seconds=300)
        alerts.raise_alert(Alert.Kind.BREAKER, api_channel_id=apis[-1].pk)
        return {
            "chats": [each.pk for each in chat_channels],
            "apis": [each.pk for each in apis],
            "operators": operators,
            "teams": [team.pk for team in teams],
            "women": WOMEN_NAMES,
            "men": MEN_NAMES,
            "families": FAMILY_NAMES,
            "client_texts": CLIENT_TEXTS,
            "operator_texts": OPERATOR_TEXTS,
        }

    def create_operator(self, number: int, name: str, chat_channels: list[ChatChannel]) -> int:
        first, last = name.split()
        user = get_user_model().objects.create_user(f"operator{number}", first_name=first, last_name=last)
        assign_role(user, role=Role.OPERATOR, chat_channels=chat_channels)
        return int(user.pk)

    @transaction.atomic
    def insert_batch(self, values: dict[str, Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(id), 0) FROM bridge_message")
            values = values | {"last_message": cursor.fetchone()[0]}
            cursor.execute(CREATE_PLAN, values)
            cursor.execute(CREATE_TEXTS, values)
            for insert in BULK_INSERTS:
                statement, rest = insert.statement()
                cursor.execute(statement, values | rest)
            cursor.execute("DROP TABLE plan, texts")
