"""Run a macro in a chat."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from bridge import idempotency
from bridge.automation import macros
from bridge.desk import access, forms
from bridge.desk.parameters import parse_int
from bridge.relay import colleague_replies

from . import chat_actions


@forms.require_chat_form
def run_macro(request: HttpRequest, pk: int, macro_id: int) -> HttpResponse:
    """Run all actions of a macro, or say why none of them is possible. A repeat of the form changes nothing."""
    conversation = access.get_conversation_or_404(request, pk)
    macro = macros.list_macros(conversation, user=request.user).filter(pk=macro_id).first()
    if macro is None:
        raise Http404
    key = forms.posted_key(request, "macro_key")

    def work() -> idempotency.StoredResponse:
        people = list(access.mentionable_users(conversation)) if "@" in macro.note_text else []
        seen = parse_int(request.POST.get("seen"))
        macros.run_macro(macro, conversation.pk, user=request.user, form_key=key, people=people, seen=seen)
        return idempotency.StoredResponse(204, {})

    try:
        idempotency.run_once(owner=f"chat {conversation.pk}/", key=key, request=f"macro {macro.pk}".encode(), work=work)
    except (macros.MacroRefused, idempotency.IdempotencyKeyReused) as problem:
        return chat_actions.refusal_response(request, conversation, str(problem))
    except colleague_replies.AnsweredMeanwhile as problem:
        result = chat_actions.describe_colleague_reply(request, problem.reply)
        if chat_actions.is_script_request(request):
            return JsonResponse(result, status=422)
        return chat_actions.refusal_response(request, conversation, result["sentence"])
    return chat_actions.success_response(request, conversation)
