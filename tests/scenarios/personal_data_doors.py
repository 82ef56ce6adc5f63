"""One person's data sent into the portal through every door, each time with a word of its own.

The person is the client of the recorded Cloud API payloads, so the same phone is known on every channel.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from bridge.conversations import message_statuses
from bridge.files import uploads
from bridge.inbox import processing
from bridge.merging.merge import merge_contacts
from bridge.models import (
    Alert,
    Attachment,
    Attempt,
    Conversation,
    Delivery,
    HeldReply,
    Message,
    Mismatch,
    TicketField,
    WebhookEvent,
)
from bridge.raw_requests import mark_event_failed
from bridge.relay import reply_submission
from channels_setup.providers.base import StatusChanged
from tests.cloud_accounts import cloud_channel, proof
from tests.cloud_corpus import corpus
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    MessageFactory,
    TemplateFactory,
    boris,
    token_of,
    vera,
)
from tests.scenarios import canary_recordings
from tests.scenarios.canary_recordings import PHONE, Canaries
from tests.simulators.usedesk import UsedeskSimulator
from tests.uapi_calls import ENCODINGS, post
from tests.usedesk_shop import Shop

SPELLINGS = ["447700900101", "+44 7700 900101", "+44 (7700) 900-101", "0044 7700 900101"]
CLOUD_BATCH = 10  # recordings in one request, as Meta batches


class CheckedClient(Client):
    """A test client that fails on a 5xx, as the callers of the portal see it."""

    def __init__(self) -> None:
        super().__init__(raise_request_exception=False)

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        assert response.status_code < 500, f"{request['PATH_INFO']}: {response.status_code}"
        return response


class PersonWorld:
    """The channels of a company, and one person who is known on all of them."""

    def __init__(self, simulator: UsedeskSimulator) -> None:
        self.word = Canaries()
        self.chat_channel = ChatChannelFactory(name="Магазин")
        hook = "http://127.0.0.1:9/hook"
        self.acebot = ApiChannelFactory(kind="acebot", redirect_url=hook, watched=self.chat_channel, secret=True)
        self.cloud = cloud_channel(watched=self.chat_channel)
        self.sandbox = ApiChannelFactory(watched=self.chat_channel)
        self.shop = Shop.of(simulator)
        self.operator, self.admin = boris(self.chat_channel, self.shop.chat_channel), vera()
        self.desk, self.program = CheckedClient(), CheckedClient()
        self.desk.force_login(self.admin)
        self.key = self.acebot.current_secret().reveal()
        self.template = TemplateFactory(
            api_channel=self.acebot, variables=[{"key": "1", "label": "Имя"}, {"key": "2", "label": "Заказ"}]
        )
        self.field = TicketField.objects.create(name="Размер обуви")
        self.ids: dict[str, Any] = {}

    def uapi(self, method: str, encoding: str = "json", **flat: Any) -> Any:
        return post(self.program, method, {"api_token": self.key, **flat}, encoding).json()

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        call = getattr(self.program, method)
        sent = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return call(f"/api/v1/{path}", headers=token_of(self.admin) | headers, **sent)

    def send_everything(self) -> None:
        """Use every door once."""
        for door in (
            *(self.call_uapi, self.call_uapi_about_tickets, self.receive_cloud_events, self.receive_sandbox_events),
            *(self.receive_acebot_statuses, self.write_in_usedesk, self.merge_another_number, self.work_at_the_desk),
            *(self.call_the_api, self.store_files, self.record_failures, self.receive_broken_requests),
        ):
            door()

    # --- programs ---

    def call_uapi(self) -> None:
        word, channel = self.word.add, self.chat_channel.pk
        for encoding, spelling in zip(ENCODINGS, SPELLINGS, strict=True):
            answer = self.uapi(
                "chat/addMessage",
                encoding,
                **{
                    "channel_id": channel,
                    "message[id]": f"uapi.{word(f'addMessage {encoding} id')}",
                    "message[text]": word(f"addMessage {encoding} text"),
                    "message[from][client_id]": PHONE,
                    "message[from][phone]": spelling,
                    "message[from][name]": "Анна Петрова",
                },
            )
        self.ids |= answer
        file = SimpleUploadedFile(f"{word('uapi file name')}.txt", word("uapi file bytes").encode())
        self.uapi(
            "chat/addMessage",
            "multipart",
            **{"channel_id": channel, "chat_id": answer["chat_id"], "message[text]": "file", "message[file]": file},
        )
        for encoding, spelling in zip(ENCODINGS, SPELLINGS, strict=True):
            self.uapi(
                "update/client",
                encoding,
                client_id=answer["client_id"],
                phone=spelling,
                note=word(f"update/client {encoding} note"),
                position=word(f"update/client {encoding} position"),
                client_city=word(f"update/client {encoding} city"),
            )
        self.uapi(
            "create/client",
            client_id=answer["client_id"],
            name=word("create/client name"),
            company_name=word("company"),
        )
        self.uapi(
            "chat/sendMessage", chat_id=answer["chat_id"], text=word("sendMessage text"), user_id=self.operator.pk
        )
        for path in ("clients", "client", "tickets"):
            self.uapi(path, "query", query=word(f"{path} query"), phone=PHONE, client_id=answer["client_id"])

    def call_uapi_about_tickets(self) -> None:
        word = self.word.add
        for encoding in ENCODINGS:
            made = self.uapi(
                "create/ticket",
                encoding,
                client_id=self.ids["client_id"],
                channel_id=self.chat_channel.pk,
                subject=word(f"create/ticket {encoding} subject"),
                message=word(f"create/ticket {encoding} message"),
                client_email=f"{word(f'create/ticket {encoding} email')}@example.org",
                tags=word(f"create/ticket {encoding} tag"),
                additional_id=word(f"create/ticket {encoding} additional id"),
                field_id=self.field.pk,
                field_value=word(f"create/ticket {encoding} field"),
            )
            assert "ticket_id" in made, made
            for sender, kind in (("user", "private"), ("client", "public")):
                text = word(f"create/comment {encoding} {sender}")
                self.uapi(
                    "create/comment",
                    encoding,
                    **{"ticket_id": made["ticket_id"], "message": text, "from": sender, "type": kind},
                )
            self.uapi(
                "update/ticket",
                encoding,
                ticket_id=made["ticket_id"],
                subject=word(f"update/ticket {encoding} subject"),
            )
            self.ids["ticket_id"] = made["ticket_id"]
        self.uapi(
            "create/ticket/async",
            client_id=self.ids["client_id"],
            channel_id=self.chat_channel.pk,
            subject=word("async"),
            message="m",
        )

    def call_the_api(self) -> None:
        word, contact = self.word.add, self.ids["client_id"]
        self.api("post", f"contacts/{contact}/notes/", {"text": word("API note")}, **{"Idempotency-Key": "api-key-1"})
        names = {"name": word("API name"), "email": f"{word('API email')}@example.org"}
        self.api("patch", f"contacts/{contact}/", names, **{"Idempotency-Key": "api-key-2"})
        body = {"text": word("API message")}
        self.api("post", f"conversations/{self.ids['chat_id']}/messages/", body, **{"Idempotency-Key": word("API key")})
        self.api("get", f"contacts/?search={word('API search')}&phone={PHONE}")

    # --- providers ---

    def receive_cloud_events(self) -> None:
        self._post_to_cloud(json.loads(next(one.body for one in corpus() if one.name == "text_plain")))
        processing.process_inbox()  # statuses of the others need a chat with sent messages
        self.ids["cloud_message"] = Message.objects.filter(api_channel=self.cloud).values_list(
            "external_id", flat=True
        )[0]
        bodies = [
            body
            for recording in corpus()
            if (body := canary_recordings.fill_recording(recording, self.word, self._send_message_with_id)) is not None
        ]
        for start in range(0, len(bodies), CLOUD_BATCH):
            entries = [entry for body in bodies[start : start + CLOUD_BATCH] for entry in body["entry"]]
            self._post_to_cloud(bodies[start] | {"entry": entries})
        processing.process_inbox()

    def receive_late_cloud_events(self) -> None:
        """Send statuses, an edit and a reaction about messages that were erased."""
        kept = {one.name: one for one in corpus()}
        for name in ("status_failed_131026", "status_read"):
            self._post_to_cloud(canary_recordings.fill_recording(kept[name], self.word, lambda _id: None))
        for name, path in (("edit_text", "edit"), ("revoke", "revoke"), ("reaction", "reaction")):
            body = canary_recordings.fill_recording(kept[name], self.word, lambda _id: None)
            message = body["entry"][0]["changes"][0]["value"]["messages"][0]
            message["id"] += "-late"
            target = "message_id" if path == "reaction" else "original_message_id"
            message[path][target] = self.ids["cloud_message"]
            self._post_to_cloud(body)
        processing.process_inbox()

    def _post_to_cloud(self, body: Any) -> None:
        raw = json.dumps(body).encode()
        sent = {"content_type": "application/json", "headers": proof(raw)}
        self.program.generic("POST", self.cloud.webhook_path, raw, **sent)

    def _send_message_with_id(self, external_id: str) -> None:
        chat = Conversation.objects.filter(api_channel=self.cloud).order_by("pk").first()
        if chat is not None and not Message.objects.filter(external_id=external_id, api_channel=self.cloud).exists():
            MessageFactory(conversation=chat, outbound=True, status="sent", external_id=external_id)

    def receive_sandbox_events(self) -> None:
        word, sender = self.word.add, {"id": PHONE, "name": "Анна Петрова", "phone": f"+{PHONE}"}
        files = [
            {"url": "https://files.example/a.jpg", "name": f"{word('sandbox file name')}.jpg", "mime": "image/jpeg"}
        ]
        for event in (
            {"type": "message", "id": "sb-1", "from": sender, "text": word("sandbox message"), "files": files},
            {"type": "edit", "id": "sb-2", "of": "sb-1", "from": sender, "text": word("sandbox edit")},
            {"type": "edit", "id": "sb-3", "of": "sb-unknown", "from": sender, "text": word("sandbox edit of unknown")},
            {"type": "echo", "id": "sb-4", "to": sender, "text": word("sandbox echo")},
            {"type": "reaction", "id": "sb-5", "of": "sb-4", "from": sender, "emoji": "🦘"},
            {"type": "odd", "from": sender, "text": word("sandbox unknown event")},
        ):
            self.program.post(self.sandbox.webhook_path, json.dumps(event), content_type="application/json")
        processing.process_inbox()

    def receive_acebot_statuses(self) -> None:
        chat = Conversation.objects.get(pk=self.ids["chat_id"])
        sent = MessageFactory(conversation=chat, outbound=True, status="sent", external_id="ace-1")
        self.ids["acebot_message"] = sent.pk
        for number, status in enumerate(("sent", "failed", "delivered", "read", "odd")):
            error = {"code": 131026, "title": self.word.add(f"acebot {status} error")}
            event = {"message_id": sent.pk, "status": status, "timestamp": 1795335000 + number, "error": error}
            self.program.post(self.acebot.webhook_path, json.dumps(event), content_type="application/json")
        processing.process_inbox()

    def write_in_usedesk(self) -> None:
        word, shop = self.word.add, self.shop
        sender = {"id": PHONE, "name": "Анна Петрова", "phone": f"+{PHONE}"}
        shop.anna_writes(word("usedesk client message"), **{"from": sender})
        shop.settle()
        chat_id = next(iter(shop.simulator.chats))
        shop.simulator.say(chat_id, word("usedesk reply"))
        shop.simulator.rule_says(chat_id, word("usedesk rule"))
        shop.settle()
        event = {
            "chat_id": chat_id,
            "text": word("usedesk unknown event"),
            "from": "client",
            "platform": "usedesk_api",
            "secret": shop.simulator.key,
            "client": {"id": 1, "name": word("usedesk client name"), "phones": [{"phone": PHONE}]},
            "ticket": None,
        }
        shop.post(shop.chat_channel.webhook_path, json.dumps(event).encode())
        shop.settle()
        self.ids["usedesk_chat"] = chat_id

    def merge_another_number(self) -> None:
        """The person has a second number, which an operator merged into the first contact."""
        word = self.word.add
        sender = {"client_id": "447700900177", "name": word("merged name"), "username": word("merged user name")}
        body = {"channel_id": self.chat_channel.pk, "message": {"text": word("merged message"), "from": sender}}
        made = self.uapi(
            "chat/addMessage",
            **{f"message[from][{k}]": v for k, v in sender.items()},
            **{"channel_id": body["channel_id"], "message[text]": word("merged message 2")},
        )
        self.ids["merged_client_id"] = made["client_id"]
        merge_contacts(made["client_id"], self.ids["client_id"], by=self.admin)

    # --- people ---

    def work_at_the_desk(self) -> None:
        word, chat = self.word.add, self.ids["chat_id"]
        client = {"for_chat": chat}
        self._desk(f"chats/{chat}/client/notes/", note=word("desk note"))
        self._desk(f"chats/{chat}/client/tags/", add=word("desk tag"))
        self._desk(f"chats/{chat}/draft/", text=word("desk draft"), written="1795335000000", key="draft-key-1")
        self._desk(
            f"chats/{chat}/client/edit/", name=word("desk name"), phone=f"+{PHONE}", email="anna@example.org", **client
        )
        self._desk(f"chats/{chat}/send/", text=f"{word('desk reply')} {self.word['desk name']}", key="desk-key-0001")
        received = Message.objects.filter(conversation=chat, direction="inbound").order_by("pk").first()
        self._desk(
            f"chats/{chat}/send/", text=word("desk quote"), key="desk-key-0002", quoted=received.pk if received else ""
        )
        for path in ("chats/?q=", "requests/?q=", "chats/updates/?q=", f"chats/{chat}/canned-responses/?q="):
            self.desk.get(f"/{path}{word(f'search {path[:12]}')}")
        self.desk.get(f"/chats/updates/?chat={chat}&writes=1")
        conversation = Conversation.objects.get(pk=chat)
        reply_submission.submit_template_reply(
            conversation_id=chat,
            template_id=self.template.pk,
            author=self.admin,
            parameters=[word("template value 1"), word("template value 2")],
        )
        HeldReply.objects.create(
            conversation=conversation,
            author=self.admin,
            text=word("held reply"),
            drop_at=timezone.now() + timedelta(days=1),
        )
        HeldReply.objects.create(
            conversation=conversation,
            author=self.admin,
            text=word("dropped reply"),
            drop_at=timezone.now(),
            state="dropped",
        )
        self.desk.post(
            f"/chats/{chat}/files/",
            {"file": SimpleUploadedFile(f"{word('desk file')}.txt", word("desk bytes").encode())},
            headers={"x-requested-with": "okno"},
        )

    def _desk(self, path: str, **values: Any) -> Any:
        return self.desk.post(f"/{path}", values, headers={"x-requested-with": "okno", "hx-request": "true"})

    def store_files(self) -> None:
        """Files that a download task and an operator stored."""
        for attachment in Attachment.objects.filter(message__conversation__contact__phone_key__gt="", file="")[:3]:
            name = self.word.add(f"downloaded {attachment.pk}")
            attachment.name = f"{name}.txt"
            attachment.file.save(
                "x", SimpleUploadedFile("x", self.word.add(f"bytes {attachment.pk}").encode()), save=True
            )
        chat = Conversation.objects.get(pk=self.ids["chat_id"])
        content = SimpleUploadedFile(f"{self.word.add('linked file')}.txt", self.word.add("linked bytes").encode())
        uploads.save_upload(chat, content, author=self.admin)

    def record_failures(self) -> None:
        """What a failing destination and the checks leave behind."""
        word, chat = self.word.add, Conversation.objects.get(pk=self.ids["chat_id"])
        delivery = Delivery.objects.filter(conversation=chat, api_channel=self.acebot).order_by("-pk").first()
        assert delivery is not None
        Attempt.objects.create(
            delivery=delivery,
            number=9,
            started_at=timezone.now(),
            duration_ms=5,
            verdict="retry",
            answer=f"to {PHONE} {word('attempt')}",
        )
        Delivery.objects.filter(pk=delivery.pk).update(state="dead", reason="retries_exhausted")
        Alert.objects.create(kind="stuck", api_channel=self.acebot, delivery=delivery, details={"text": word("alert")})
        Mismatch.objects.create(
            kind="not_sent",
            api_channel=self.acebot,
            conversation=chat,
            external_id=word("mismatch"),
            since=timezone.now(),
        )
        message = Message.objects.get(pk=self.ids["acebot_message"])
        message_statuses.apply_statuses(
            self.acebot, [StatusChanged(status="failed", external_id=message.external_id, title=word("status title"))]
        )
        event = (
            WebhookEvent.objects.filter(api_channel=self.acebot, body__contains=PHONE.encode()).order_by("pk").first()
        )
        if event is not None:
            mark_event_failed(event, f"{PHONE} {word('event error')}")
            WebhookEvent.objects.filter(pk=event.pk).update(traceback=f"Traceback\n{word('event traceback')}")

    def receive_broken_requests(self) -> None:
        """Requests that name the person but cannot be read or processed."""
        word = self.word.add
        for number, body in enumerate(
            (
                f'{{"type": "message", "from": {{"id": "{PHONE}"}}, "text": "{word("broken sandbox")}"',
                f'{{"type": "message", "id": [], "from": {{"id": "{PHONE}", "name": "{word("bad id sandbox")}"}}}}',
            )
        ):
            self.program.post(f"{self.sandbox.webhook_path}?x={number}", body, content_type="application/json")
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in word("broken escaped"))
        sender = {"client_id": PHONE}
        bad_channel = {"api_token": self.key, "channel_id": 0, "message": {"text": "ESCAPED", "from": sender}}
        bad_message = {"api_token": self.key, "channel_id": self.chat_channel.pk, "message": 5}
        bad_message["phone"] = f"{SPELLINGS[2]} {word('bad message')}"
        for body in (json.dumps(bad_channel).replace("ESCAPED", escaped), json.dumps(bad_message)):
            self.program.post("/uapi/chat/addMessage", body, content_type="application/json")
        self.uapi("update/client", "query", client_id=self.ids["client_id"], phone=f"{word('bad phone')}", name="x" * 5)
        self.uapi("create/ticket", client_id=self.ids["client_id"], channel_id=0, subject=word("refused ticket"))
        processing.process_inbox()
