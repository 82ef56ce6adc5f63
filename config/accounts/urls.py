"""Pages of a person's own account, most of them django-allauth's, below ``/account/``."""

from allauth.account import views as account
from allauth.socialaccount import views as social
from django.urls import include, path, re_path

from . import login, preferences
from .views import allauth_pages, sessions, tokens

urlpatterns = [
    path("login/", login.Login.as_view(), name="login"),
    path("login/", login.Login.as_view(), name="account_login"),  # the name that allauth uses
    path("logout/", login.Logout.as_view(), name="logout"),
    path("logout/", login.Logout.as_view(), name="account_logout"),
    path("account/", preferences.edit_preferences, name="preferences"),
    path("account/sessions/", sessions.list_sessions, name="usersessions_list"),
    path("account/sessions/<int:pk>/end/", sessions.end_session, name="session-end"),
    path("account/sessions/end-others/", sessions.end_other_sessions, name="sessions-end-others"),
    path("account/tokens/", tokens.list_tokens, name="own-tokens"),
    path("account/tokens/new/", tokens.create_token, name="own-token-new"),
    path("account/tokens/<int:pk>/revoke/", tokens.revoke_token, name="own-token-revoke"),
    path("account/email/", allauth_pages.ChangeEmail.as_view(), name="account_email"),
    path("account/email/sent/", account.email_verification_sent, name="account_email_verification_sent"),
    re_path(r"^account/email/confirm/(?P<key>[-:\w]+)/$", account.confirm_email, name="account_confirm_email"),
    path("account/password/", account.password_change, name="account_change_password"),
    path("account/password/set/", allauth_pages.SetPassword.as_view(), name="account_set_password"),
    path("account/password/reset/", allauth_pages.RequestPasswordReset.as_view(), name="account_reset_password"),
    path("account/password/reset/sent/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^account/password/link/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "account/password/link/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/confirm/", account.reauthenticate, name="account_reauthenticate"),
    path("account/inactive/", account.account_inactive, name="account_inactive"),
    path("account/second-factor/", allauth_pages.SecondFactorIndex.as_view(), name="mfa_index"),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("account/sso/<str:provider_id>/login/", allauth_pages.start_single_sign_on, name="openid_connect_login"),
    path(
        "account/sso/<str:provider_id>/callback/", allauth_pages.finish_single_sign_on, name="openid_connect_callback"
    ),
    path("account/sso/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("account/sso/error/", social.login_error, name="socialaccount_login_error"),
    path("account/sso/signup/", allauth_pages.refuse_social_signup, name="socialaccount_signup"),
]
