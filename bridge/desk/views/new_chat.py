"""New chat: phone number, channel, consent and template; then the template's values with a preview; then it is sent."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import idempotency, outcomes
from bridge.conversations import consents
from bridge.desk import access, forms, presentation
from bridge.desk.contacts import listing
from bridge.desk.parameters import parse_int
from bridge.models import ConsentSource, Contact, Conversation, OptOut
from bridge.relay import chat_starts
from bridge.relay.chat_starts import ChatStartRefused, GivenConsent, StartChannel
from channels_setup.permissions import require_chat_access
from templates_registry.models import Template
from templates_registry.preview import FIELD_PREFIX, build_preview, values_from_form

KEPT_FIELDS = ("phone", "contact", "name", "channel", "template", "consent", "note")
MAX_TEMPLATES = 300


@dataclass(frozen=True, kw_only=True)
class NewChatForm:
    """The posted first step."""

    values: dict[str, str]
    channels: list[StartChannel]
    contact: Contact | None = None  # chosen on the Contacts page; its number may be hidden from the user

    @classmethod
    def from_request(cls, request: HttpRequest) -> NewChatForm:
        posted = request.POST if request.method == "POST" else request.GET
        values = {name: posted.get(name, "").replace("\0", "").strip()[:200] for name in KEPT_FIELDS}
        if request.method != "POST":
            values["phone"] = ""  # never from an address: addresses are logged
        channels = chat_starts.list_start_channels(request.user)
        contact = listing.find_visible_contact(request.user, parse_int(values["contact"]))
        if contact is not None:
            channels = [row for row in channels if row.api_channel.pk == contact.api_channel_id]
        return cls(values=values, channels=channels, contact=contact)

    @property
    def phone(self) -> str:
        """Return the number to write to, as typed or as stored with the contact."""
        return self.contact.phone if self.contact else self.values["phone"]

    @property
    def channel(self) -> StartChannel | None:
        """Return the chosen channel, or the only one that can be used."""
        usable = [row for row in self.channels if not row.problem]
        chosen = parse_int(self.values["channel"])
        if chosen is None:
            return usable[0] if len(usable) == 1 else None
        return next((row for row in usable if row.api_channel.pk == chosen), None)

    @property
    def consent(self) -> GivenConsent:
        return GivenConsent(source=self.values["consent"], note=self.values["note"])

    def find_templates(self, user: Any) -> Any:
        usable = [row.api_channel.pk for row in self.channels if not row.problem]
        rows = Template.objects.all().visible_to(user).sendable().filter(api_channel__in=usable)
        return rows.select_related("api_channel").order_by("api_channel", "name", "language")

    def get_template(self, user: Any) -> Template | None:
        pk = parse_int(self.values["template"])
        if pk is None or self.channel is None:
            return None
        found: Template | None = self.find_templates(user).filter(pk=pk, api_channel=self.channel.api_channel).first()
        return found


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def start_new_chat(request: HttpRequest) -> HttpResponse:
    """Handle the steps ``fill``, ``go``, and ``lookup`` of scripts. All use POST to keep numbers out of logs."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    form = NewChatForm.from_request(request)
    if request.method == "GET" or request.POST.get("back"):
        return _show_first_step(request, form, _find_gone_client(form))
    if request.POST.get("lookup"):
        return render(request, "bridge/new_chat_known.html", {"known": _find_known(request, form)})
    problems = _check_first_step(request, form)
    if problems:
        return _show_first_step(request, form, problems)
    if (known := _find_known(request, form)) is not None:
        return _show_first_step(request, form, {}, known=known)
    return _fill_template(request, form)


def _check_first_step(request: HttpRequest, form: NewChatForm) -> dict[str, str]:
    problems = {}
    try:
        chat_starts.parse_number(form.phone)
    except ChatStartRefused as problem:
        problems["phone"] = str(problem)
    problems |= _find_gone_client(form)
    if form.channel is None:
        problems["channel"] = _("Choose a channel that can write first.")
    elif form.get_template(request.user) is None:
        problems["template"] = _("Choose a template of this channel.")
    if not problems and (refusal := _explain_opt_out(form, request.user)):
        problems["template"] = refusal
    if form.values["consent"] not in ConsentSource.values:
        problems["consent"] = _("Say how the client agreed to get messages.")
    return problems


def _find_gone_client(form: NewChatForm) -> dict[str, str]:
    """Return the problem of a client who was deleted since the page with the button was shown."""
    is_gone = form.values["contact"] and form.contact is None and not form.values["phone"]
    return {"phone": _("This client no longer exists. Enter the phone number.")} if is_gone else {}


def _explain_opt_out(form: NewChatForm, user: Any) -> str:
    """Return why the client does not get this template, or ""."""
    template, channel = form.get_template(user), form.channel
    assert template is not None and channel is not None  # checked
    contact = chat_starts.find_known_contact(channel.api_channel, chat_starts.parse_number(form.phone))
    row = contact and consents.get_consent(contact)
    code = consents.get_refusal(OptOut(row.opt_out), template.category) if row else ""
    return outcomes.render_sentence(code, {}) if code else ""


def _find_known(request: HttpRequest, form: NewChatForm) -> dict[str, Any] | None:
    """Return the chat with this number that the user may see, with a message. Others are not mentioned."""
    try:
        phone = chat_starts.parse_number(form.phone)
    except ChatStartRefused:
        return None
    channels = [form.channel] if form.channel else form.channels
    for channel in channels:
        contact = chat_starts.find_known_contact(channel.api_channel, phone)
        if contact is None:
            continue
        chats = access.visible_conversations(request).filter(contact=contact, messages__isnull=False)
        chat = chats.order_by("-last_message_at").first()
        if chat is not None:
            return {"chat": chat, "name": presentation.contact_name(contact), "channel": channel.api_channel.name}
    return None


def _show_first_step(
    request: HttpRequest,
    form: NewChatForm,
    problems: dict[str, str] | None = None,
    *,
    known: dict[str, Any] | None = None,
) -> HttpResponse:
    templates = list(form.find_templates(request.user)[:MAX_TEMPLATES])
    context = {
        "section": "contacts",
        "form": form,
        "values": form.values,
        "contact_name": presentation.contact_name(form.contact) if form.contact else "",
        "chosen_channel": form.channel,
        "usable": [row for row in form.channels if not row.problem],
        "unusable": [row for row in form.channels if row.problem],
        "templates": templates,
        "consent_sources": ConsentSource.choices,
        "problems": problems or {},
        "known": known,
    }
    return render(request, "bridge/new_chat.html", context, status=422 if problems or known else 200)


def _fill_template(request: HttpRequest, form: NewChatForm) -> HttpResponse:
    template, channel = form.get_template(request.user), form.channel
    assert template is not None and channel is not None  # checked by the first step
    values, sentence = values_from_form(request.POST), ""
    phone = chat_starts.parse_number(form.phone)
    if request.POST.get("go"):
        try:
            return redirect("chat", pk=_start_once(request, form, channel, template, values))
        except ChatStartRefused as problem:
            sentence = str(problem)
    context = {
        "section": "contacts",
        "template": template,
        "channel": channel,
        "preview": build_preview(template, values),
        "phone": presentation.contact_phone(form.contact) if form.contact else presentation.format_phone(phone),
        "kept_values": form.values,
        "sentence": sentence,
        "sending_key": forms.posted_key(request, "key") or secrets.token_urlsafe(12),
        "field_prefix": FIELD_PREFIX,
    }
    if "HX-Request" in request.headers:
        return render(request, "templates_registry/templates_page/fill_form_regions.html", context)
    return render(request, "bridge/new_chat_values.html", context, status=422 if sentence else 200)


def _start_once(
    request: HttpRequest, form: NewChatForm, channel: StartChannel, template: Template, values: dict[str, str]
) -> int:
    """Start the chat once per form. Return its ID. Raises ChatStartRefused."""
    user: Any = request.user
    content = [form.values, template.pk, values]
    body = json.dumps(content, ensure_ascii=False).encode()
    key = forms.posted_key(request, "key")

    def work() -> idempotency.StoredResponse:
        started = chat_starts.start_chat(
            channel,
            form.phone,
            template_id=template.pk,
            parameters={name: value for name, value in values.items() if value},
            consent=form.consent,
            name=form.values["name"],
            author=user,
        )
        chat = started.conversation
        return idempotency.StoredResponse(200, {"chat_id": chat.pk}, contact_ids=(chat.contact_id,))

    response = idempotency.run_once(
        owner=f"new chat {user.pk}",
        key=f"{key} {hashlib.sha256(body).hexdigest()[:16]}" if key else "",
        request=body,
        work=work,
    )
    chat_id = int(response.body["chat_id"])
    if not Conversation.objects.filter(pk=chat_id).visible_to(user).exists():
        raise ChatStartRefused(_("This chat is no longer available."))
    return chat_id
