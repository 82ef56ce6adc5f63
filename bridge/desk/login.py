"""Coming in: Django's own view with our page. Too many wrong tries are answered by django-axes with ours too."""

from __future__ import annotations

from django.contrib.auth.views import LoginView


class Login(LoginView):
    template_name = "bridge/login.html"
    redirect_authenticated_user = True
