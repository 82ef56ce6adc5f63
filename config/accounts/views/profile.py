"""A person's own profile: name, language, time zone and notifications."""

from __future__ import annotations

from zoneinfo import available_timezones

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from config.accounts import language
from config.accounts.models import User


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "display_name", "language", "time_zone", "sign_in_notices")


@login_required
def edit_profile(request: HttpRequest) -> HttpResponse:
    """Show the profile, or save it and return to it."""
    user = User.objects.get(pk=request.user.pk)  # the form changes its instance, also when it is not valid
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        response = redirect("profile")
        request.user = user
        language.restore_language(request, response)
        return response
    zones = sorted(available_timezones())
    return render(request, "account/profile.html", {"form": form, "zones": zones, "section": "account"})
