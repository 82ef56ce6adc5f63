"""A person's own sessions: where they are signed in, and how to end a session."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from config.accounts import sessions
from config.accounts.user_agents import describe_browser


@login_required
def list_sessions(request: HttpRequest) -> HttpResponse:
    """List the user's sessions, newest first, and forget those that have ended."""
    rows = UserSession.objects.purge_and_list(request.user)
    for row in rows:
        row.browser = describe_browser(row.user_agent) or _("unknown")
        row.current = row.session_key == request.session.session_key
    rows.sort(key=lambda row: row.created_at, reverse=True)
    return render(request, "account/sessions.html", {"sessions": rows, "section": "account"})


@login_required
@require_POST
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    get_object_or_404(UserSession, pk=pk, user=request.user).end()
    sessions.record_ended_sessions(request.user, 1)
    messages.success(request, _("The session was ended."))
    return redirect("usersessions_list")


@login_required
@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    sessions.end_sessions(request.user, keep=request)
    messages.success(request, _("All other sessions were ended."))
    return redirect("usersessions_list")
