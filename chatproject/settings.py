"""Settings of the demo project, read from the environment (see ``docker/.env.example``).

Safe by default: without ``DEBUG`` the process wants a secret key and its host names, and sends
secure cookies and headers. ``make run`` turns ``DEBUG`` on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from environs import Env, validate
from psycopg.conninfo import conninfo_to_dict

from chat import conf
from chatproject import embedded_postgres

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(str(BASE_DIR / ".env"), recurse=False)

DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "not-a-secret-for-development-only") if DEBUG else env.str("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "chat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",  # Django 6.1 insists on it, where a model has an array or a search vector
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "chatproject.urls"
ASGI_APPLICATION = "chatproject.asgi.application"
SERVER = env.str("SERVER", "uvicorn")  # what `manage.py serve` runs it with

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database(url: str) -> dict[str, Any]:
    """Django's description of the database that a libpq URL names; libpq's own parser reads it."""
    options: dict[str, Any] = dict(conninfo_to_dict(url))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", ""),  # without one Django says what is missing, or OPTIONS["service"] names it
        "CONN_MAX_AGE": 0,  # what a pool wants
        "CONN_HEALTH_CHECKS": True,  # without it, each pooled connection fails once after a restart of PostgreSQL
        "OPTIONS": {
            **conf.VANISHED,
            **options,
            # Who gives up soon asks again with the next request; left to itself the pool's pauses double to minutes.
            "pool": {
                "min_size": 1,
                "max_size": env.int("DATABASE_POOL", 16),
                "timeout": 10,
                "reconnect_timeout": 5,
            },
        },
    }


DATA_DIR = Path(env.str("DATA_DIR", str(BASE_DIR / ".data")))
DATABASE_URL = env.str("DATABASE_URL", "")
# Where no database is named, manage.py keeps one running here.
EMBEDDED_POSTGRES = None if DATABASE_URL else DATA_DIR / "postgres"
if EMBEDDED_POSTGRES:
    DATABASE_URL = embedded_postgres.dsn(EMBEDDED_POSTGRES)
DATABASES = {"default": database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# What users upload; nothing serves it but the API, which looks at who asks.
MEDIA_ROOT = env.str("MEDIA_ROOT", str(DATA_DIR / "attachments"))
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "chatproject.static_files.HashedModules"
        )
    },
}

# Nothing but what this host serves: no inline script, no foreign request.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if not DEBUG:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
    SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", True)
    if env.bool("BEHIND_TLS_PROXY", False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Durable chat",
    "DESCRIPTION": "Threads, turns and their streams.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "PREPROCESSING_HOOKS": ["chat.api.schema.without_chat"],
    "POSTPROCESSING_HOOKS": ["chat.api.schema.with_chat"],
    "SERVE_AUTHENTICATION": conf.DEFAULTS["AUTHENTICATION_CLASSES"],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SERVE_INCLUDE_SCHEMA": False,
}

# Where the roll-out of the copilot chats' mirror is: see docs/migrating-from-jsonb.md.
COPILOT_MESSAGES_PHASE = env.str("COPILOT_MESSAGES_PHASE", "dual")

# Names that `chat` itself reads start with CHAT_; `chat/conf.py` lists them with their defaults. The environment may
# set any of them.
READERS: dict[type, Callable[..., Any]] = {
    bool: env.bool,
    int: env.int,
    float: env.float,
    str: env.str,
    dict: env.json,
    list: env.list,
}
for name, default in conf.DEFAULTS.items():
    if (value := READERS[type(default)](f"CHAT_{name}", None)) is not None:
        globals()[f"CHAT_{name}"] = value

# Where workers run the turns: the tables of their jobs come with `migrate`.
if globals().get("CHAT_RUNNER") == "worker":
    INSTALLED_APPS += ["procrastinate.contrib.django"]

# Plain lines for a terminal, JSON for what collects the logs of many: each record's event and fields are keys of it.
LOG_FORMAT = env.str("LOG_FORMAT", "line" if DEBUG else "json", validate=validate.OneOf(("line", "json")))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "chat.logs.JsonLine"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "loggers": {"procrastinate": {"level": "WARNING"}},  # else two lines a turn
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
}
