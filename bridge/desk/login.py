"""Coming in: Django's own view with our page. Too many wrong tries are answered by django-axes with ours too."""

from __future__ import annotations

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.views import LoginView


class Login(LoginView):
    template_name = "bridge/login.html"
    redirect_authenticated_user = True


class AdminLogin(Login):
    """The same page at the admin's door, which an operator's password does not open."""

    authentication_form = AdminAuthenticationForm
    redirect_authenticated_user = False  # an operator sent here by the admin would go round in circles
