"""Simulator of Usedesk: answers its chat API as documented, posts its events, and misbehaves on demand.

    with UsedeskSimulator(webhook="http://127.0.0.1:8000/webhooks/usedesk/…/") as simulator:
        simulator.url                               the API address for the chat channel's form
        simulator.say(chat_id, "Да")                an operator answers in Chats
        simulator.faults.error_200 = 2              the next two calls get HTTP 200 with an error

As a program: ``python -m tests.simulators.usedesk --port 8170 --webhook URL``. It prints its address, key and app ID.
Control it with JSON at ``/_simulator/``: ``say``, ``close``, ``faults`` and ``state``.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.http_server import QueueingHTTPServer

Json = dict[str, Any]

KEY, APP_ID = "a1" * 20, "51423"
COMPANY, CHANNEL = 150001, 870
OPEN, SOLVED, CLOSED, NEW = 1, 2, 3, 8
SCREEN = ("new_chat", "message", "resumed", "comment", "change", "new_ticket")


@dataclass
class Faults:
    """Faults to simulate. Counters decrease with every call; shares are between 0 and 1."""

    error_200: int = 0  # HTTP 200 with an error; nothing is accepted
    fail_500: int = 0
    throttle: int = 0  # 429 with Retry-After: 1
    lose_answer: int = 0  # accept the call and close the connection before the response
    lose_method: str = "chat/addMessage"  # the method besides ``chat/addMessage`` that ``lose_answer`` applies to
    hang_seconds: float = 0.0
    share_500: float = 0.0
    share_lost_answer: float = 0.0
    share_doubled: float = 0.0  # events posted once more, ``double_after`` seconds later
    share_delayed: float = 0.0  # events posted up to ``delay`` seconds later, so that they overtake each other
    share_dropped: float = 0.0  # events never posted
    double_after: float = 3.0
    delay: float = 0.3
    retries: int = 0  # number of repeats of events that are not answered with 200


@dataclass
class Chat:
    id: int
    client_id: int
    ticket_id: int
    state: str = "new"
    messages: list[tuple[str, str]] = field(default_factory=list)  # (from, text)


class UsedeskSimulator:
    def __init__(self, *, webhook: str = "", port: int = 0, prefix: str = "/uapi", seed: int = 1) -> None:
        self.webhook, self.prefix = webhook, prefix
        self.key, self.app_id = KEY, APP_ID
        self.channels: list[Json] = [
            {"channel_id": CHANNEL, "channel_name": "WhatsApp", "channel_type": "chat"},
            {"channel_id": 871, "channel_name": "Почта", "channel_type": "email"},
        ]
        self.boxes = {"new_chat", "message", "resumed", "change"}
        self.secret_in_events = self.app_id  # older versions: the key
        self.encoding = "json"  # or form; entities: a form with “UTF-8” off
        self.clock_off = 0.0  # seconds by which the simulator's clock is ahead
        self.echoes = True  # clients' messages also cause events
        self.escapes = True  # escape HTML characters of chat messages in comments
        self.ticket_id_null = True
        self.people = {27: "Борис Белов"}
        self.faults, self.random = Faults(), random.Random(seed)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.clients: dict[int, Json] = {}
        self.chats: dict[int, Chat] = {}
        self.tickets: dict[int, Json] = {}
        self.comments: list[Json] = []
        self.calls: list[tuple[str, Json]] = []
        self.answers: list[int] = []  # HTTP statuses of the responses to events
        self.next_id = {"client": 41000000, "chat": 700100, "ticket": 3500000, "comment": 900000, "change": 1}
        self.queue: list[tuple[float, int, bytes, str]] = []
        self.posted = 0
        self.stopping = False
        self.poster: Callable[[bytes, str], int] | None = None  # ``pump`` posts with it in the caller's thread
        self.server = QueueingHTTPServer(("127.0.0.1", port), _handler(self))
        self.threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._post_events, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{self.prefix}/"

    def number(self, of: str) -> int:
        self.next_id[of] += 1
        return self.next_id[of]

    def wait_for(self, question: Any, *, seconds: float = 60) -> Any:
        """Wait until the question about the simulator's state returns something true. Return the answer."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(question()), timeout=seconds), "the condition never became true"
            return question()

    def texts(self, sender: str = "client") -> list[str]:
        """Return all texts of one side, chat by chat."""
        with self.lock:
            return [text for chat in self.chats.values() for who, text in chat.messages if who == sender]

    def notes(self) -> list[str]:
        with self.lock:
            return [comment["message"] for comment in self.comments if comment["type"] == "private"]

    # --- operators -------------------------------------------------------------------------------------------

    def say(self, chat_id: int, text: str, *, files: tuple[str, ...] = ()) -> None:
        """Let an operator answer in Chats: a chat event, and a comment event if that box is ticked."""
        with self.changed:
            chat = self.chats[chat_id]
            ticket = self.tickets[chat.ticket_id]
            chat.messages.append(("user", text))
            self._touch(ticket)
            if "message" in self.boxes:
                self._event(self._chat_event(chat, "user", text, files=files))
            self._comment(ticket, self._html(text), sender="user", kind="public")

    def rule_says(self, chat_id: int, text: str) -> None:
        """Let a rule or bot answer: a ticket change and no chat event."""
        with self.changed:
            chat = self.chats[chat_id]
            chat.messages.append(("user", text))
            self._change(self.tickets[chat.ticket_id], "message_from_bot", text, None)

    def set_status(self, chat_id: int, status: int) -> None:
        with self.changed:
            ticket = self.tickets[self.chats[chat_id].ticket_id]
            before, ticket["status_id"] = ticket["status_id"], status
            self._touch(ticket)
            self._change(ticket, "status_id", status, before)

    def assign(self, chat_id: int, user_id: int) -> None:
        with self.changed:
            ticket = self.tickets[self.chats[chat_id].ticket_id]
            before, ticket["assignee_id"] = ticket["assignee_id"], user_id
            self._touch(ticket)
            self._change(ticket, "assignee_id", user_id, before)

    def ping(self) -> None:
        """Send the ping of saved settings."""
        with self.changed:
            self._event({"ping": "ping"})

    # --- the API -----------------------------------------------------------------------------------------------

    def answer(self, method: str, body: Json) -> Json | list[Json]:
        if str(body.get("api_token")) != self.key:
            return {"error": "Wrong api_token", "code": 401}
        answer = {
            "channels": self._channels,
            "create/client": self._create_client,
            "update/client": self._update_client,
            "clients": self._clients,
            "tickets": self._tickets,
            "chat/addMessage": self._add_message,
            "chat/sendMessage": self._send_message,
            "create/comment": self._create_comment,
            "ticket": self._ticket,
            "users": lambda body: [
                {"id": number, "name": name, "email": "", "role": "employee", "groups": []}
                for number, name in self.people.items()
            ],
        }.get(method)
        if answer is None:
            return {"error": f"Method {method} not found", "code": 404}
        with self.changed:
            found = answer(body)
            self.changed.notify_all()
            return found

    def _channels(self, body: Json) -> list[Json]:
        wanted = body.get("channel_type")
        return [each for each in self.channels if not wanted or each["channel_type"] == wanted]

    def _create_client(self, body: Json) -> Json:
        phone = str(body.get("phone") or "")
        if phone and not (phone.isdigit() and 10 <= len(phone) <= 15):
            return {"error": "phone is invalid", "code": 400}
        number = self.number("client")
        self.clients[number] = {"id": number, **{name: body.get(name) for name in ("name", "phone", "messengers")}}
        return {"client_id": number, "status": True}

    def _update_client(self, body: Json) -> Json:
        client = self.clients.get(int(body.get("client_id") or 0))
        if client is None:
            return {"error": "Client not found", "code": 404}
        client |= {name: body[name] for name in ("name", "phone", "emails") if name in body}
        return {"client_id": client["id"], "status": True}

    def _clients(self, body: Json) -> list[Json]:
        query = str(body.get("query") or "")
        return [
            {"id": each["id"], "name": each.get("name"), "phone": each.get("phone"), "emails": None, "tickets": []}
            for each in self.clients.values()
            if not query or query in (str(each.get("phone")), str(each.get("name")))
        ]

    def _tickets(self, body: Json) -> list[Json]:
        wanted = str(body.get("client_id") or "")
        rows = [row for row in self.tickets.values() if not wanted or str(row["client_id"]) == wanted]
        return sorted(rows, key=lambda row: -int(row["id"]))

    def _add_message(self, body: Json) -> Json:
        channel = next((each for each in self.channels if str(each["channel_id"]) == str(body.get("channel_id"))), None)
        if channel is None or channel["channel_type"] != "chat":
            return {"status": False}
        if str(body.get("company_id")) != str(COMPANY):
            return {"error": "company_id is required", "code": 400}
        message = body.get("message") or {}
        sender = message.get("from") or {}
        if not message.get("text"):
            return {"error": "message.text is required", "code": 400}
        client_id = int(sender.get("client_id") or 0)
        if not client_id:
            client_id = self.number("client")
            self.clients[client_id] = {"id": client_id, "name": sender.get("name")}
        chat = self._chat(body, client_id)
        if chat is None:
            return {"error": "Chat not found", "code": 404}
        opened, state = not chat.messages, None
        if opened:
            state = "new"
        elif self.tickets[chat.ticket_id]["status_id"] in (SOLVED, CLOSED):
            chat.ticket_id, state = self._new_ticket(chat.client_id, message["text"]), "reopened"
        chat.messages.append(("client", message["text"]))
        ticket = self.tickets[chat.ticket_id]
        self._touch(ticket)
        self._comment(ticket, self._html(message["text"]), sender="client", kind="public")
        if self.echoes:
            event = self._chat_event(chat, "client", message["text"], state=state)
            boxes = {"message", {"new": "new_chat", "reopened": "resumed"}.get(state or "", "message")}
            for _box in sorted(boxes & self.boxes):  # one message may raise two events
                self._event(event)
        return {
            "chat_id": chat.id,
            "company_id": COMPANY,
            "ticket_id": None if opened and self.ticket_id_null else chat.ticket_id,
            "channel_id": CHANNEL,
            "client_id": chat.client_id,
        }

    def _chat(self, body: Json, client_id: int) -> Chat | None:
        if body.get("chat_id"):
            return self.chats.get(int(body["chat_id"]))
        found = next((chat for chat in self.chats.values() if chat.client_id == client_id), None)
        if found is None:
            number = self.number("chat")
            ticket_id = self._new_ticket(client_id, (body.get("message") or {}).get("text", ""))
            found = self.chats[number] = Chat(id=number, client_id=client_id, ticket_id=ticket_id)
        return found

    def _send_message(self, body: Json) -> Json:
        """Send a program's message. It comes back as an operator's event, so it is relayed to the client."""
        self.say(int(body["chat_id"]), str(body["text"]))
        return {"status": "success"}

    def _create_comment(self, body: Json) -> Json:
        ticket = self.tickets.get(int(body.get("ticket_id") or 0))
        if ticket is None:
            return {"error": "Ticket not found", "code": 404}
        sender, kind = str(body.get("from") or "user"), str(body.get("type") or "private")
        number = self._comment(ticket, str(body.get("message") or ""), sender=sender, kind=kind)
        if kind == "public" and sender == "client":
            chat = next(chat for chat in self.chats.values() if chat.ticket_id == ticket["id"])
            chat.messages.append(("client", re.sub("<[^>]+>", "", str(body.get("message")))))
        return {"status": "success", "comment_id": number}

    def _ticket(self, body: Json) -> Json:
        ticket = self.tickets.get(int(body.get("ticket_id") or 0))
        if ticket is None:
            return {"error": "Ticket not found", "code": 404}
        return {"ticket": ticket, "comments": [each for each in self.comments if each["ticket_id"] == ticket["id"]]}

    # --- tickets and events ------------------------------------------------------------------------------------

    def _new_ticket(self, client_id: int, text: str) -> int:
        number = self.number("ticket")
        self.tickets[number] = {
            "id": number,
            "status_id": NEW,
            "subject": text[:50],
            "client_id": client_id,
            "assignee_id": None,
            "group": None,
            "last_updated_at": "",
            "published_at": "",
            "channel_id": CHANNEL,
            "email": "",
            "company_id": COMPANY,
            "additional_id": None,
            "message": text,
            "files": [],
        }
        if "new_ticket" in self.boxes:
            self._event(
                {"secret": self.secret_in_events, "ticket": {k: str(v) for k, v in self.tickets[number].items()}}
            )
        return number

    def _touch(self, ticket: Json) -> None:
        ticket["last_updated_at"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _chat_event(
        self, chat: Chat, sender: str, text: str, *, state: str | None = None, files: tuple[str, ...] = ()
    ) -> Json:
        return {
            "chat_id": chat.id,
            "text": text,
            "client_id": chat.client_id,
            "client": {
                "id": chat.client_id,
                "name": self.clients[chat.client_id].get("name"),
                "emails": [],
                "phones": [],
            },
            "from": sender,
            "platform": "usedesk_api",
            "secret": self.secret_in_events,
            "ticket": {**self.tickets[chat.ticket_id], "files": list(files)},
            "state": state,
        }

    def _html(self, text: str) -> str:
        return f"<p>{escape(text, quote=False) if self.escapes else text}</p>"

    def _comment(self, ticket: Json, text: str, *, sender: str, kind: str, files: tuple[str, ...] = ()) -> int:
        number = self.number("comment")
        comment = {
            "id": number,
            "message": text if text.startswith("<") else f"<p>{text}</p>",
            "from": sender,
            "type": kind,
            "user_id": 27 if sender == "user" else None,
            "ticket_id": ticket["id"],
            "files": list(files),
        }
        self.comments.append(comment)
        if "comment" in self.boxes:
            self._event({"secret": self.secret_in_events, "comment": comment})
        self.changed.notify_all()
        return number

    def _change(self, ticket: Json, target: str, value: Any, old_value: Any) -> None:
        if "change" not in self.boxes:
            return
        trigger: Json = {
            "id": self.number("change"),
            "ticket_id": ticket["id"],
            "user_id": 27,
            "data": [{"target": target, "value": value, "old_value": old_value}],
        }
        if target == "status_id":
            trigger |= {"old_status": old_value, "new_status": value}
        self._event({"secret": self.secret_in_events, "trigger": trigger})

    def _event(self, event: Json) -> None:
        """Queue an event and apply the faults to it."""
        if not (self.webhook or self.poster) or self.random.random() < self.faults.share_dropped:
            return
        if self.encoding in ("form", "entities"):
            pairs = list(_flatten(event))
            if self.encoding == "entities":
                pairs = [(name, _to_entities(text)) for name, text in pairs]
            body, kind = urlencode(pairs).encode(), "application/x-www-form-urlencoded"
        else:
            body, kind = json.dumps(event, ensure_ascii=False).encode(), "application/json"
        late = self.random.uniform(0, self.faults.delay) if self.random.random() < self.faults.share_delayed else 0.0
        self._queue(body, kind, after=late)
        if self.random.random() < self.faults.share_doubled:
            self._queue(body, kind, after=late + self.faults.double_after)

    def _queue(self, body: bytes, kind: str, *, after: float) -> None:
        self.posted += 1
        self.queue.append((time.monotonic() + after, self.posted, body, kind))
        self.changed.notify_all()

    @property
    def is_quiet(self) -> bool:
        with self.lock:
            return not self.queue

    def _post_events(self) -> None:
        while True:
            with self.changed:
                self.queue.sort()
                if self.stopping:
                    return
                if self.poster is not None:
                    self.changed.wait(0.2)
                    continue
                wait = self.queue[0][0] - time.monotonic() if self.queue else None
                if wait is None or wait > 0:
                    self.changed.wait(min(wait, 0.2) if wait is not None else 0.2)
                    continue
                _at, _number, body, kind = self.queue[0]
            status = self._post(body, kind)
            with self.changed:
                self.answers.append(status)
                self.queue = [each for each in self.queue if each[1] != _number]
                if status != 200 and self.faults.retries > 0:
                    self.faults.retries -= 1
                    self._queue(body, kind, after=0.2)
                self.changed.notify_all()

    def pump(self) -> None:
        """Post due events in the caller's thread."""
        assert self.poster is not None
        while True:
            with self.changed:
                self.queue.sort()
                if not self.queue or self.queue[0][0] > time.monotonic():
                    return
                _at, _number, body, kind = self.queue.pop(0)
            self.answers.append(self.poster(body, kind))

    def _post(self, body: bytes, kind: str) -> int:
        request = urllib.request.Request(self.webhook, data=body, headers={"content-type": kind}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def _flatten(value: Any, name: str = "") -> Any:
    """Yield form fields with PHP bracket names, as with "JSON request" off: all values are strings, null is empty."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flatten(item, f"{name}[{number}]")
    else:
        yield name, "" if value is None else str(value)


# --- the server ----------------------------------------------------------------------------------------------


def _handler(simulator: UsedeskSimulator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            body = dict(parse_qsl(parts.query)) | _decode_body(raw, self.headers.get("Content-Type", ""))
            if parts.path.startswith("/_simulator/"):
                self.give(200, _run_action(simulator, parts.path.removeprefix("/_simulator/"), body))
                return
            if not parts.path.startswith(simulator.prefix + "/"):
                self.give(404, {"message": "Not Found"})
                return
            method = parts.path.removeprefix(simulator.prefix + "/").strip("/")
            with simulator.changed:
                simulator.calls.append((method, body))
                faults = simulator.faults
                fault = next((each for each in ("error_200", "fail_500", "throttle") if getattr(faults, each) > 0), "")
                if fault:
                    setattr(faults, fault, getattr(faults, fault) - 1)
                elif simulator.random.random() < faults.share_500:
                    fault = "fail_500"
                lost = faults.lose_answer > 0 and method in ("chat/addMessage", faults.lose_method)
                faults.lose_answer -= int(lost)
                lost = lost or simulator.random.random() < faults.share_lost_answer
                simulator.changed.notify_all()
            if fault == "error_200":
                self.give(200, {"error": "Something went wrong", "code": 500})
            elif fault == "fail_500":
                self.give(500, {"message": "Server Error"})
            elif fault == "throttle":
                self.give(429, {"error": "Too many requests"}, headers={"Retry-After": "1"})
            else:
                answer = simulator.answer(method, body)
                time.sleep(simulator.faults.hang_seconds)
                if lost:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.give(200, answer)

        do_GET = do_POST = do_any

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + simulator.clock_off)  # type: ignore[arg-type]  # a float does

        def give(self, status: int, answer: Any, *, headers: dict[str, str] | None = None) -> None:
            raw = json.dumps(answer, ensure_ascii=False).encode()
            try:
                self.send_response(status)
                for name, text in ({"Content-Type": "application/json"} | (headers or {})).items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handler


def _to_entities(text: str) -> str:
    return text.replace("&", "&amp;").encode("ascii", "xmlcharrefreplace").decode()


def _decode_body(raw: bytes, content_type: str) -> Json:
    if content_type.startswith("multipart/"):
        parts = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw).get_payload()
        found: Json = {"files": []}
        for part in parts if isinstance(parts, list) else []:
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if part.get_filename():
                found["files"].append((part.get_filename(), content))
            else:
                found[str(name)] = content.decode() if isinstance(content, bytes) else ""
        return found
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode()))
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _run_action(simulator: UsedeskSimulator, action: str, body: Json) -> Json:
    """Run an action of the control API and return the simulator's state."""
    if action == "say":
        simulator.say(int(body["chat_id"]), str(body["text"]))
    elif action == "close":
        simulator.set_status(int(body["chat_id"]), CLOSED)
    elif action == "faults":
        for name, value in body.items():
            setattr(simulator.faults, name, value)
    elif action == "ping":
        simulator.ping()
    with simulator.lock:
        chats = [asdict(chat) for chat in simulator.chats.values()]
        return {
            "chats": chats,
            "notes": simulator.notes(),
            "faults": asdict(simulator.faults),
            "answers": simulator.answers[-20:],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulator of Usedesk.")
    parser.add_argument("--port", type=int, default=8170)
    parser.add_argument("--webhook", default="", help="Webhook URL of the chat channel; events are posted there.")
    parser.add_argument("--box", action="append", choices=SCREEN, help="Ticked box; can be repeated.")
    options = parser.parse_args()
    try:
        usedesk = UsedeskSimulator(port=options.port, webhook=options.webhook)
    except OSError as problem:
        sys.exit(f"Cannot listen on the port {options.port} ({problem.strerror}). Choose another one with --port.")
    with usedesk as simulator:
        if options.box:
            simulator.boxes = set(options.box)
        connection = {
            "api": simulator.url,
            "secret_key": simulator.key,
            "app_id": simulator.app_id,
            "company": COMPANY,
            "channel": CHANNEL,
        }
        print(json.dumps(connection), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
