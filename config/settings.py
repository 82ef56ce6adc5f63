"""Django settings. Values that differ between installations come from config.environment."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.utils.translation import gettext_lazy as _

from config.accounts.oidc_settings import build_oidc_providers
from config.admin_site import unfold
from config.environment import read_setting
from config.storage.media_settings import build_media_storage

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = BASE_DIR / read_setting("DATA_DIR")

# --- identity ---------------------------------------------------------------------------------------------
DEBUG: bool = read_setting("DEBUG")
SECRET_KEY: str = read_setting("SECRET_KEY")
FIELD_KEYS: list[str] = read_setting("FIELD_KEYS")
PUBLIC_URL: str = (read_setting("PUBLIC_URL") or f"http://127.0.0.1:{read_setting('PORT')}").rstrip("/")
PUBLIC_HOST = urlsplit(PUBLIC_URL).hostname or "127.0.0.1"
IS_HTTPS = PUBLIC_URL.startswith("https://")
# Loopback names are for local use. In production, only the routes of config.web.middleware.webhook_fast_path answer
# there, and these skip the host check.
LOOPBACK_HOSTS = () if IS_HTTPS and not DEBUG else ("127.0.0.1", "localhost", "[::1]")
ALLOWED_HOSTS = [*read_setting("ALLOWED_HOSTS"), PUBLIC_HOST, *LOOPBACK_HOSTS]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

# --- portal -----------------------------------------------------------------------------------------------
COMPANY_ID: int = read_setting("COMPANY_ID")
RELAY_ALLOWED_PRIVATE_CIDRS: list[str] = read_setting("RELAY_ALLOWED_PRIVATE_CIDRS")
RELAY_ALLOWED_PORTS: list[int] = read_setting("RELAY_ALLOWED_PORTS")
WORKER_CONCURRENCY: int = read_setting("WORKER_CONCURRENCY")
HELD_REPLY_DAYS: int = read_setting("HELD_REPLY_DAYS")
WEB_PUSH_HOSTS: list[str] = read_setting("WEB_PUSH_HOSTS")
CLOSING_REMINDER_MINUTES: list[int] = read_setting("CLOSING_REMINDER_MINUTES")
MISMATCH_AFTER_HOURS: int = read_setting("MISMATCH_AFTER_HOURS")
EVENT_RETENTION_DAYS: int | None = read_setting("EVENT_RETENTION_DAYS")
MESSAGE_RETENTION_DAYS: int | None = read_setting("MESSAGE_RETENTION_DAYS")
FILE_RETENTION_DAYS: int | None = read_setting("FILE_RETENTION_DAYS")
UPLOAD_LIMIT_MB: int = read_setting("UPLOAD_LIMIT_MB")
CLIENT_FILE_LIMIT_MB: int = read_setting("CLIENT_FILE_LIMIT_MB")
UPLOAD_LIMIT_PER_OPERATOR_DAY_MB: int = read_setting("UPLOAD_LIMIT_PER_OPERATOR_DAY_MB")
UPLOAD_LIMIT_PER_CHAT_DAY_MB: int = read_setting("UPLOAD_LIMIT_PER_CHAT_DAY_MB")
MIN_FREE_DISK_MB: int = read_setting("MIN_FREE_DISK_MB")
API_CALLS_PER_MINUTE: int = read_setting("API_CALLS_PER_MINUTE")
FILE_LINK_DAYS: int = read_setting("FILE_LINK_DAYS")
DEMO_PASSWORDS = {"admin": read_setting("DEMO_ADMIN_PASSWORD"), "operator": read_setting("DEMO_OPERATOR_PASSWORD")}

METRICS_TOKEN: str = read_setting("METRICS_TOKEN")
SENTRY_DSN: str = read_setting("SENTRY_DSN")
OTEL_EXPORTER_OTLP_ENDPOINT: str = read_setting("OTEL_EXPORTER_OTLP_ENDPOINT")

# --- application ------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "config.audit",
    "config.accounts",
    "config",
    "channels_setup",
    "templates_registry",
    "bridge",
]
MIDDLEWARE = [
    "config.monitoring.request_metrics.measure_requests",
    "bridge.phone_visibility.set_viewer_middleware",
    "config.web.response_headers.add_default_headers",
    "config.web.upgrade_response.answer_schema_mismatch",
    "config.accounts.wrong_tokens.limit_wrong_tokens",
    "django.middleware.security.SecurityMiddleware",
    "config.web.middleware.webhook_fast_path",
    "bridge.desk.live.polling.fast_poll_middleware",
    "config.web.static_files.StaticFilesMiddleware",
    "config.web.middleware.reject_oversized_bodies",
    "config.web.request_log.RequestLogMiddleware",
    "config.web.audit_middleware.attribute_writes",
    "csp.middleware.CSPMiddleware",
    "config.web.middleware.apply_admin_csp",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "config.web.middleware.liveness",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.web.middleware.replace_nul_characters",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.web.middleware.activate_user_time_zone",
    "allauth.account.middleware.AccountMiddleware",
    "config.accounts.sessions.limit_idle_sessions",
    "config.accounts.sign_in.set_sign_in_cookies",
    "config.accounts.second_factor.require_second_factor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "config.web.middleware.refuse_erased_people",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
OUR_APPS = ("channels_setup", "templates_registry", "bridge")
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / app / "templates" for app in (*OUR_APPS, "config/accounts")],
        "OPTIONS": {
            "loaders": [
                (
                    "config.web.constant_nodes.Loader",
                    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "bridge.desk.personal_settings.context_processor",
            ],
        },
    },
]

# --- servers ----------------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **environ.Env.db_url_config(read_setting("DATABASE_URL")),
        # Persistent connections: one per request made the same view eight times slower. The health check before the
        # first use in a request or task replaces connections that a restart of PostgreSQL broke.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)
# The audit triggers tell the portal's own writes from those of other database clients by this name.
DATABASES["default"]["OPTIONS"]["application_name"] = "okno"
REDIS_URL: str = read_setting("REDIS_URL")
# In PostgreSQL, because all web processes must know which one-time codes were used and how many attempts were made.
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "accounts_sharedcacheentry",
        "OPTIONS": {"MAX_ENTRIES": 100_000},  # old entries are deleted by `bridge.maintenance.housekeeping`
    }
}

# --- languages and time -----------------------------------------------------------------------------------
LANGUAGE_CODE: str = read_setting("LANGUAGE")
LANGUAGES = [("ru", _("Russian")), ("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
USE_I18N = True
FORMAT_MODULE_PATH = ["config.formats"]
USE_TZ = True
TIME_ZONE: str = read_setting("TIME_ZONE")

# --- files ------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "media"
ERASURE_LOG = read_setting("ERASURE_LOG") or str(DATA_DIR / "erasures.jsonl")
BACKUP_DIR = read_setting("BACKUP_DIR") or str(DATA_DIR / "backups")
BACKUP_MAX_AGE_HOURS: int = read_setting("BACKUP_MAX_AGE_HOURS")
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o600, 0o700
STORAGES: dict[str, dict[str, Any]] = {
    "default": build_media_storage(),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if STATIC_ROOT := read_setting("STATIC_ROOT") or None:
    STORAGES["staticfiles"] = {
        "BACKEND": "config.web.static_files.HashedStaticFilesStorage",
        # Unlike clients' files, these are public. The image collects them as another user.
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    }
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
# Without collected files, they are served from their source folders, listed once at the start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
# Enough for a webhook with a thousand messages. Larger bodies are rejected unread. Files have their own limits.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# --- authentication ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "config.accounts.permissions.SingleQueryBackend"]
# --- accounts (django-allauth) ---
if EMAIL_URL := read_setting("EMAIL_URL"):
    globals().update(environ.Env.email_url_config(EMAIL_URL))
else:
    EMAIL_HOST = ""  # nothing is sent; one-time links are shown to admins instead
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read_setting("EMAIL_FROM") or f"Okno <okno@{PUBLIC_HOST}>"
ALERT_ROUTES = read_setting("ALERT_ROUTES")
ALERT_TELEGRAM_URL = read_setting("ALERT_TELEGRAM_URL")
ACCOUNT_ADAPTER = "config.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # at sign-in; a changed address is verified before it replaces the old one
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # anybody could make the portal send emails to any address
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {"login": False}  # `config.accounts.login` and django-axes limit passwords
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if IS_HTTPS else "http"
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # an unattended browser must not change the email address
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]  # no codes by email
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "config.accounts.link_tokens.LinkTokenGenerator"
ACCOUNT_FORMS = {"reset_password": "config.accounts.account_forms.ResetPasswordForm"}
MFA_ADAPTER = "config.accounts.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Okno"
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # the portal does not need email addresses
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not IS_HTTPS  # browsers allow passkeys on http://localhost only
USERSESSIONS_ADAPTER = "allauth.usersessions.adapter.DefaultUserSessionsAdapter"
SOCIALACCOUNT_ADAPTER = "config.accounts.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_ONLY = False
# A link, not a form: browsers apply "form-action" to the redirects of a form. `start_single_sign_on` checks the origin.
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True  # later sign-ins find the user by the provider's ID
SECOND_FACTOR_ROLES: list[str] = (
    read_setting("SECOND_FACTOR_ROLES")
    if read_setting("SECOND_FACTOR_ROLES") is not None
    else ["admin"]
    if IS_HTTPS and not DEBUG
    else []
)
OWN_TOKEN_ROLES: list[str] = read_setting("OWN_TOKEN_ROLES")
OWN_TOKEN_MAX_DAYS: int = read_setting("OWN_TOKEN_MAX_DAYS")
SESSION_ENGINE = "config.accounts.session_store"
SESSION_IDLE_HOURS: int = read_setting("SESSION_IDLE_HOURS")
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = build_oidc_providers()
OIDC_GROUPS_CLAIM: str = read_setting("OIDC_GROUPS_CLAIM")
OIDC_GROUP_ROLES: list[str] = read_setting("OIDC_GROUP_ROLES")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
] + [
    {"NAME": f"config.accounts.password_rules.{name}"}
    for name in ("LetterRequiredValidator", "RepeatedTextValidator", "LeakedPasswordValidator")
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
# Lock the pair of name and address, not the account: a stranger must not be able to lock out a user.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "bridge/login_locked.html"
AXES_VERBOSE = False
BEHIND_PROXY: bool = read_setting("BEHIND_PROXY")
AXES_WHITELIST_CALLABLE = "config.accounts.login.is_known_device"
AXES_CLIENT_IP_CALLABLE = "config.web.client_address.address_from_request"

SESSION_COOKIE_HTTPONLY = True
KNOWN_DEVICE_COOKIE_NAME = "__Host-okno_device" if IS_HTTPS else "okno_device"
if IS_HTTPS:  # a browser accepts __Host- cookies only from this host, not from other hosts of the domain
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME, LANGUAGE_COOKIE_NAME = (
        "__Host-sessionid",
        "__Host-csrftoken",
        "__Host-django_language",
    )
LANGUAGE_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_HSTS_SECONDS: int = read_setting("HSTS_SECONDS") if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS: bool = read_setting("HSTS_SUBDOMAINS")
SECURE_HSTS_PRELOAD: bool = read_setting("HSTS_PRELOAD")
# Subdomains and the preload list concern other hosts of the domain, so only the administrator can decide on them.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# The container's health check and a scraper on this machine use plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "report-uri": "/csp-report/",
        # Browsers that support report-to ignore report-uri. They use it on HTTPS pages only.
        **({"report-to": "csp"} if IS_HTTPS else {}),
    }
}

# --- the API ----------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "config.accounts.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["bridge.call_limits.PerKeyThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Okno",
    "DESCRIPTION": "Chats, messages, deliveries, templates and channels of the portal. Create a token under API tokens "
    "in the admin or with `manage.py token create USER`, and send it in the header `Authorization: Token …`. A program "
    "may do what the token's scope and chat channels include, and never more than the token's user. "
    "Lists are newest first; follow `next` for the next page. "
    'Errors are `{"error": sentence, "reason": code}`.',
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "bridge.api.schema.complete_schema"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "MessageKind": "bridge.models.Message.Kind",
        "DeliveryKind": "bridge.models.Delivery.Kind",
        "ConsentSource": "bridge.models.ConsentSource",
        "OptOutSource": "bridge.models.OptOutSource",
        "MessengerKind": "channels_setup.models.messenger_choices",
        "HelpdeskKind": "channels_setup.models.helpdesk_choices",
        "DeliveryState": "bridge.models.Delivery.State",
        "EventState": "bridge.models.WebhookEvent.State",
        "ChannelState": "channels_setup.models.ChannelState",
        "MessageStatus": "bridge.models.Message.Status",
        "TemplateStatus": "templates_registry.models.Status",
        "HeldState": "bridge.models.HeldReply.State",
        "WindowState": ["open", "closed", "none", "unrestricted"],
    },
}

# --- admin site -------------------------------------------------------------------------------------------
UNFOLD = unfold.UNFOLD

# --- logging ----------------------------------------------------------------------------------------------
# Logs contain IDs, never message texts, full phone numbers or secrets.
LOG_LEVEL: str = read_setting("LOG_LEVEL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": "config.monitoring.log_format.build_formatter", "style": read_setting("LOG_FORMAT")}
    },
    "filters": {
        "routes": {"()": "config.web.request_log.RouteFilter"},
        "plain": {"()": "config.monitoring.log_redaction.ArgumentRedactor"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["routes", "plain"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"handlers": [], "propagate": True},
        # At DEBUG these loggers write SQL with values, URLs with query strings, and template variables.
        **{
            name: {"level": "INFO" if LOG_LEVEL == "DEBUG" else LOG_LEVEL}
            for name in ("django.db.backends", "django.template", "urllib3")
        },
        # One line per request or task is only wanted at DEBUG.
        **{
            name: {"level": "DEBUG" if LOG_LEVEL == "DEBUG" else "WARNING"}
            for name in ("django_structlog", "celery", "axes")
        },
    },
}
