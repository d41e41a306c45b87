"""The pages a person opens. The project includes these under the prefix it likes."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from chat.pages import views
from chat.pages.shared import shared

urlpatterns = [
    path("", views.conversation, name="chat-home"),
    path("threads/<uuid:thread_id>/", views.conversation, name="chat-thread"),
    path("shared/<str:secret>/", shared, name="chat-shared"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
