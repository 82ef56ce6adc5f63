"""Profile page: users change their own name, language, time zone, signature and notifications."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from channels_setup.admin.time_zone_field import list_choices

from . import language
from .models import User


class PreferencesForm(forms.Form):
    first_name = forms.CharField(label=_("First name"), required=False, max_length=150)
    last_name = forms.CharField(label=_("Last name"), required=False, max_length=150)
    display_name = forms.CharField(
        label=_("Display name"),
        required=False,
        max_length=100,
        help_text=User._meta.get_field("display_name").help_text,
    )
    language = forms.ChoiceField(label=_("Language"), required=False)
    time_zone = forms.ChoiceField(label=_("Time zone"), required=False)
    signature = forms.CharField(
        label=_("Signature"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=User._meta.get_field("signature").help_text,
    )
    sign_in_notices = forms.BooleanField(label=User._meta.get_field("sign_in_notices").verbose_name, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        language, time_zone = self.fields["language"], self.fields["time_zone"]
        assert isinstance(language, forms.ChoiceField) and isinstance(time_zone, forms.ChoiceField)
        language.choices = [("", _("Language of the browser")), *settings.LANGUAGES]
        time_zone.choices = list_choices


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def edit_preferences(request: HttpRequest) -> HttpResponse:
    """Show and save the preferences of the signed-in user."""
    user = cast(User, request.user)
    initial = {name: getattr(user, name) for name in PreferencesForm.base_fields}
    form = PreferencesForm(request.POST if request.method == "POST" else None, initial=initial)
    if not form.is_valid():
        is_saved = request.method == "GET" and "saved" in request.GET
        return render(request, "account/profile.html", {"form": form, "is_saved": is_saved})
    User.objects.filter(pk=user.pk).update(**form.cleaned_data)
    user.language = form.cleaned_data["language"]
    response = redirect(f"{reverse('preferences')}?saved=1")
    if user.language:
        language.restore_language(request, response)
    else:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME, path=settings.LANGUAGE_COOKIE_PATH)
    return response
