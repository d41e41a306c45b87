"""The login of the admin, where what everybody said can be read: throttled as the page's is."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm

from chat.access.logins import ThrottledLogin


class AdminLogin(ThrottledLogin, AdminAuthenticationForm):
    """Of the default site, unless the host has chosen a form of its own."""


if admin.site.login_form is None:
    admin.site.login_form = AdminLogin
