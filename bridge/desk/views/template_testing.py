"""Test message of a template: fill in, enter one's own number, confirm, see the outcome."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge import idempotency
from bridge.desk import forms, presentation
from bridge.desk.parameters import parse_int
from bridge.models import Message, TemplateTest
from bridge.relay import template_tests
from channels_setup.permissions import require_chat_access
from templates_registry.models import Template
from templates_registry.preview import FIELD_PREFIX, build_preview, values_from_form

MAX_NUMBER_LENGTH = 40


@require_chat_access
@permission_required("templates_registry.change_template", raise_exception=True)
@require_http_methods(["GET", "POST"])
@never_cache
def show_template_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Handle the three steps: form, ``check`` (confirmation), ``go`` (send)."""
    template = get_object_or_404(Template.objects.all().visible_to(request.user).select_related("api_channel"), pk=pk)
    if refusal := forms.reject_stale_form(request):
        return refusal
    values, number = values_from_form(request.POST), request.POST.get("number", "").strip()[:MAX_NUMBER_LENGTH]
    sentence = template_tests.explain_refusal(template)
    if request.method == "POST" and "HX-Request" not in request.headers and not sentence:
        try:
            if request.POST.get("go"):
                _send_once(request, template, number, values)
                return redirect(request.path)
            if request.POST.get("check"):
                return _confirm_test(request, template, number, values)
        except template_tests.TemplateTestRefused as problem:
            sentence = str(problem)
    context = _build_context(template, number, values) | {
        "sentence": sentence,
        "may_send": not template_tests.explain_refusal(template),
        "tests": [_test_row(test) for test in template_tests.list_latest_tests(template)],
    }
    if "HX-Request" in request.headers:
        return render(request, "templates_registry/templates_page/fill_form_regions.html", context)
    return render(request, "bridge/template_test.html", context, status=422 if request.method == "POST" else 200)


def _confirm_test(request: HttpRequest, template: Template, number: str, values: dict[str, str]) -> HttpResponse:
    """Show the message and its recipient for confirmation. Raises TemplateTestRefused."""
    recipient = template_tests.read_recipient(template, number)
    template_tests.check_values(template, values)
    context = _build_context(template, recipient.number, values) | {
        "shown_number": presentation.format_phone(recipient.number),
        "contact": recipient.contact,
        "name": presentation.contact_name(recipient.contact) if recipient.contact else "",
        "kept_values": {FIELD_PREFIX + key: value for key, value in values.items()},
        "sending_key": secrets.token_urlsafe(12),
    }
    return render(request, "bridge/template_test_confirm.html", context)


def _send_once(request: HttpRequest, template: Template, number: str, values: dict[str, str]) -> None:
    """Send the message at most once per form. Raises TemplateTestRefused."""

    def work() -> idempotency.StoredResponse:
        seen = parse_int(request.POST.get("contact"))
        message = template_tests.send_template_test(
            template, number, values, user=request.user, confirmed_contact_id=seen
        )
        return idempotency.StoredResponse(200, {"message": message.pk})

    body = f"{number}\n{sorted(values.items())}".encode()
    key = forms.posted_key(request, "key")
    try:
        idempotency.run_once(owner=f"template test {template.pk}/{request.user.pk}", key=key, request=body, work=work)
    except idempotency.IdempotencyKeyReused as problem:
        raise template_tests.TemplateTestRefused(str(problem)) from None


def _build_context(template: Template, number: str, values: dict[str, str]) -> dict[str, Any]:
    return {"section": "templates", "template": template, "preview": build_preview(template, values), "number": number}


def _test_row(test: TemplateTest) -> dict[str, Any]:
    message = test.message
    status = Message.Status(message.status)
    return {
        "test": test,
        "recipient": presentation.contact_name(message.conversation.contact),
        "status": status.label,
        "is_bad": status in (Message.Status.FAILED, Message.Status.UNKNOWN),
        "is_waiting": status in (Message.Status.PENDING, Message.Status.SENDING),
        "sentence": message.sentence if message.reason else "",
        "by": presentation.person_name(test.author) if test.author else "",
    }
