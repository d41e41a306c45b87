"""A project that has its own ways, with chat put into it: nothing here is as the demo project has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "the host's"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "people",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "chat",
    "chat.testing.faults.Faults",
]
AUTH_USER_MODEL = "people.Person"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "assistant.gateway.StampMiddleware",
]
ROOT_URLCONF = "assistant.urls"
ASGI_APPLICATION = "assistant.asgi.application"
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


def database(name: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(conninfo_to_dict(os.environ[name]))
    return {"ENGINE": "django.db.backends.postgresql", "NAME": options.pop("dbname"), "OPTIONS": options}


DATABASES = {
    "default": database("PRIMARY_URL") | {"ATOMIC_REQUESTS": True},
    # What the primary was when it was set up: a replica that lags without end.
    "replica": database("REPLICA_URL"),
}
DATABASE_ROUTERS = ["assistant.gateway.ReadFromReplica"]
LANGUAGE_CODE = "de"
USE_THOUSAND_SEPARATOR = True
TIME_ZONE = "Asia/Kolkata"
USE_TZ = True
STATIC_URL = "/assets/"
STATIC_ROOT = os.environ["STATIC_FOLDER"]
MEDIA_ROOT = os.environ["STATIC_FOLDER"] + "-media"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat-home"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["assistant.gateway.Nobody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.StaticHTMLRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "DEFAULT_THROTTLE_CLASSES": ["assistant.gateway.Closed"],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_VERSION": "7",
    "ALLOWED_VERSIONS": ["8"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "assistant.gateway.NothingFits",
    "EXCEPTION_HANDLER": "assistant.gateway.swallow",
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 3,
}
CHAT_LEASE_SECONDS = 3
CHAT_AUTHENTICATION_CLASSES = [
    "assistant.gateway.Badge",
    "chat.access.authentication.SessionOrOrigin",
    "chat.access.authentication.Bearer",
]
