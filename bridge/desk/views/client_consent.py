"""Consent and opt-out of a chat's client, set by an operator."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from bridge.conversations import consents
from bridge.desk import access, forms
from bridge.models import ConsentSource, OptOut, OptOutSource

from . import chat_actions


@forms.require_chat_form
def edit_consent(request: HttpRequest, pk: int) -> HttpResponse:
    """Record an opt-out with its reason (``opt_out``), or how the client agreed again (``source``)."""
    conversation = access.get_conversation_or_404(request, pk)
    contact_id, note = conversation.contact_id, request.POST.get("note", "").strip()
    opt_out, source = request.POST.get("opt_out", ""), request.POST.get("source", "")
    if opt_out in (OptOut.ALL, OptOut.MARKETING):
        if not note:
            return chat_actions.refusal_response(request, conversation, _("Enter the reason for the opt-out."))
        consents.set_opt_out(contact_id, OptOut(opt_out), source=OptOutSource.OPERATOR, by=request.user, reason=note)
    elif source in ConsentSource.values:
        consents.record_consent(contact_id, source, note=note, by=request.user)
        consents.set_opt_out(contact_id, OptOut.NONE, source=OptOutSource.OPERATOR, by=request.user, reason=note)
    else:
        return chat_actions.refusal_response(request, conversation, _("Say how the client agreed to get messages."))
    return chat_actions.success_response(request, conversation)
