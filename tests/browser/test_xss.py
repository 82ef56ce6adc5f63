"""Hostile strings in every field that outsiders can fill: none runs, none becomes markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from bridge.conversations import receiving
from bridge.models import (
    Attachment,
    CannedResponse,
    Contact,
    ContactNote,
    Conversation,
    Draft,
    HeldReply,
    Message,
    Ticket,
)
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.browser.test_desk import SOON, end_windows_in, sign_in
from tests.factories import ApiChannelFactory, TemplateFactory, boris, vera

pytestmark = pytest.mark.django_db(transaction=True)

CORPUS = (Path(__file__).parent / "xss.txt").read_text().splitlines()
# Elements that exist only if a payload has become markup. Our own pages have none of them.
FOREIGN = (
    "body script:not([src^='/static/']):not([type='application/json']), iframe, object, embed, base, math, marquee, "
    "audio, video, svg script, svg animate, svg set, [onerror], [onload], [onfocus], [onclick], [ontoggle], "
    "[onmouseover], [onpointerenter], [onbegin], [onstart], [hx-on\\:load], [data-hx-on\\:load], "
    "a[href^='javascript:'], [formaction^='javascript:'], form[action^='javascript:'], img[src='x']"
)


@pytest.fixture
def watched(page: Page) -> list[str]:
    """Yield payloads that ran, or that only the policy stopped."""
    ran: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: ran.append(message.text) if "Content Security Policy" in message.text else None)
    return ran


def comes(channel: ApiChannel, number: int, words: str) -> Message:
    fact = MessageReceived(
        contact=ContactInfo(external_id=f"{number}", name=words[:200], phone=f"7921{number:07d}"), text=words
    )
    made = receiving.receive_messages(
        channel, [receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel)]
    )
    return made[0].message


def check(page: Page, path: str, watched: list[str]) -> None:
    page.goto(path)
    assert page.locator(FOREIGN).count() == 0, (path, page.locator(FOREIGN).first.evaluate("e => e.outerHTML"))
    assert watched == [], path


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(set(CORPUS)) >= 60


def test_names_and_texts_never_run_as_scripts(page: Page, context: BrowserContext, watched: list[str]) -> None:
    channel = ApiChannelFactory(name=CORPUS[0][:60])
    messages = [comes(channel, number, words) for number, words in enumerate(CORPUS)]
    Contact.objects.update(tags=CORPUS[:12], email=CORPUS[3][:200])
    sign_in(context, boris(*channel.watched.all()))

    check(page, "/chats/", watched)
    check(page, "/requests/", watched)
    page.goto("/chats/")
    page.locator("[data-more]").click()
    expect(page.locator(".row")).to_have_count(len(CORPUS), timeout=SOON)
    assert page.locator(FOREIGN).count() == 0 and watched == []
    for message in messages[::12]:
        check(page, f"/chats/{message.conversation_id}/", watched)


def test_one_chat_full_of_payloads_runs_no_script(page: Page, context: BrowserContext, watched: list[str]) -> None:
    channel = ApiChannelFactory()
    first = comes(channel, 1, "Здравствуйте")
    chat = first.conversation
    author = boris(chat.chat_channel)
    fill(chat, author, first)
    sign_in(context, vera())

    check(page, f"/chats/{chat.pk}/?at={first.pk}", watched)
    for link in page.locator("[data-trail]").all()[:6]:
        link.click()
    expect(page.locator(".trail .path").first).to_be_visible()
    check(page, f"/chats/{chat.pk}/client/erase/", watched)
    check(page, f"/chats/{chat.pk}/", watched)
    page.locator("[data-canned-responses]").click()
    expect(page.locator(".tp-pick").first).to_be_visible()
    assert page.locator(FOREIGN).count() == 0
    Message.objects.filter(pk=first.pk).update(reactions=[{"by": "client", "emoji": CORPUS[13]}])
    for words in CORPUS[-8:]:  # and as live updates, drawn by the script
        comes(channel, 1, words)
    expect(page.locator("#messages .msg:not(.held) .text").last).to_have_text(CORPUS[-1], timeout=2 * SOON)
    assert page.locator(FOREIGN).count() == 0 and watched == []


def fill(chat: Conversation, author: Any, first: Message) -> None:
    for number, words in enumerate(CORPUS):
        said = reply_submission.submit_reply(conversation_id=chat.pk, text=words, author=author).message
        assert said
        Attachment.objects.create(message=said, name=words[:200], url=words[:2000], mime="image/png")
        shown = {
            "what": ("location", "contacts", "order", "flow")[number % 4],
            "name": words,
            "address": words,
            "map": words,
            "cards": [{"name": words, "phones": [words], "org": words}],
            "lines": [{"product": words, "quantity": words, "price": words, "currency": words}],
            "fields": [[words, words]],
            "ad": {"headline": words, "url": words},
            "former": [words],
            "edited_at": words,
            "revoked_at": words,
        }
        template = {"name": words, "language": words, "parameters": {words: words}}
        Message.objects.filter(pk=said.pk).update(
            shown=shown, reactions=[{"by": words, "emoji": words}], quoted=first, template=template, kind="template"
        )
    worst = "\n".join(CORPUS)
    ContactNote.objects.create(contact=chat.contact, author=author, text=worst)
    Draft.objects.create(
        conversation=chat, user=vera(), text=worst, reason="template_near_miss", details={"why": CORPUS[1]}
    )
    HeldReply.objects.create(conversation=chat, author=author, text=worst, drop_at=timezone.now())
    CannedResponse.objects.create(name=CORPUS[1], text=worst)
    Ticket.objects.update(subject=CORPUS[14])


def test_template_values_never_run_as_scripts(page: Page, context: BrowserContext, watched: list[str]) -> None:
    channel = ApiChannelFactory()
    chat = comes(channel, 1, "Здравствуйте").conversation
    TemplateFactory(
        api_channel=channel, name="order_ready", body="Заказ {{1}} готов.", examples=[CORPUS[1]], variables=[]
    )
    end_windows_in(-60)
    sign_in(context, boris(chat.chat_channel))
    page.goto(f"/chats/{chat.pk}/")
    page.locator(".offer").first.click()
    field = page.locator(".tp textarea").first

    for words in CORPUS[::6]:
        field.fill(words)
        expect(page.locator('.tp [data-part="bubble"]')).to_contain_text("готов", timeout=SOON)
        page.fill("#text", f"Заказ {words} готов.")
    expect(page.locator('.tp [data-part="bubble"] mark')).to_have_count(1, timeout=SOON)
    assert page.locator(FOREIGN).count() == 0 and watched == []
