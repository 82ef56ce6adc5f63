"""Actions of notifications: own status, settings, and the browsers that get push messages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from bridge.conversations.availability import get_choice
from bridge.desk import availability, forms, notification_settings, settings
from bridge.desk.parameters import parse_int
from bridge.desk.push import sending, subscriptions
from channels_setup.permissions import require_chat_access


@require_chat_access
@require_POST
def choose_availability(request: HttpRequest) -> HttpResponse:
    """Set the user's own status. Scripts get it as JSON; a plain form returns to its page."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    try:
        availability.choose(request.user, request.POST.get("choice", ""))
    except KeyError:
        return HttpResponseBadRequest()
    if "HX-Request" in request.headers:
        own = availability.describe_own(*get_choice(request.user))
        return JsonResponse({"status": own["status"], "label": own["label"]})
    target = request.POST.get("next", "")
    # Without the slash, redirect() would look for a view with this name.
    is_own = target.startswith("/") and url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(target if is_own else reverse("chats"))


@require_chat_access
@require_POST
@never_cache
def edit_notifications(request: HttpRequest) -> HttpResponse:
    """Save the notification settings of the signed-in user."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    form = notification_settings.build_form(request.user, request.POST)
    if form.is_valid():
        form.save()
        return redirect(f"{reverse('desk-settings')}?saved=1#notifications-settings")
    context = {"form": settings.DeskSettingsForm(instance=settings.get_settings(request.user))}
    return render(request, "bridge/desk_settings.html", context | {"notification_form": form}, status=422)


@require_chat_access
@require_POST
def subscribe(request: HttpRequest) -> HttpResponse:
    """Subscribe this browser to push messages for the user, as long as the session lasts."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    if not subscriptions.is_available():
        return _refuse(_("Push messages are switched off on this portal."))
    try:
        receiver = subscriptions.parse_receiver(request.POST)
    except subscriptions.InvalidSubscription:
        return _refuse(_("This browser’s push service is not supported. Ask an admin to allow it."))
    subscriptions.subscribe(request, receiver)
    return JsonResponse({"subscribed": True})


@require_chat_access
@require_POST
def unsubscribe(request: HttpRequest) -> HttpResponse:
    """Remove one of the user's devices: this browser by its endpoint, or another one by its number."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    if endpoint := request.POST.get("endpoint", ""):
        subscriptions.unsubscribe(request.user, endpoint)
    elif (number := parse_int(request.POST.get("device"))) is not None:
        subscriptions.list_devices(request.user).filter(pk=number).delete()
    if "HX-Request" in request.headers:
        return JsonResponse({"subscribed": False})
    return redirect(f"{reverse('desk-settings')}#notifications-settings")


@require_chat_access
@require_POST
def send_test(request: HttpRequest) -> HttpResponse:
    """Send a test message to all devices of the user."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    return JsonResponse({"devices": sending.create_test(subscriptions.list_devices(request.user))})


def _refuse(sentence: str) -> HttpResponse:
    return JsonResponse({"subscribed": False, "sentence": sentence}, status=422)
