"""What every admin of the history has in common: it shows rows and changes none, and stays quick on big tables."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.paginator import Paginator
from django.db.models import BigAutoField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from chat.admin.cells import NOTHING, one_line
from chat.models import Message, Thread
from chat.store.audit import note_view
from chat.store.policies import administered_threads

M = TypeVar("M", bound=Model)
# The kind of a view that the audit log has of who looks for words in what was said: a hit tells that they were.
SEARCH = "search"

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
    AnyPaginator = Paginator[Any]
else:
    # Generic for the type checker only, so that nobody needs django_stubs_ext to run.
    AnyPaginator = Paginator

    class ModelAdmin(admin.ModelAdmin):
        def __class_getitem__(cls, _: Any) -> type[ModelAdmin]:
            return cls


class BoundedPaginator(AnyPaginator):
    """Pages through the first ``MOST`` rows: to count millions for a line of links would cost more than it tells."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MOST)

    @property
    def is_cut(self) -> bool:
        return self._counted > self.MOST

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[: self.MOST + 1].count()


class ReadOnlyAdmin(ModelAdmin[M]):
    """Lists and shows rows. Nobody adds, changes or deletes any here, superusers included: what was said was said.

    A user who has history can therefore not be deleted in the admin either: Django asks this class.
    """

    actions: Sequence[str] | None = None  # no bulk delete, and none that the site adds for everybody
    empty_value_display = NOTHING
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table
    paginator = BoundedPaginator
    is_audited = False  # whether the page of a row shows what was said
    hidden: Sequence[str] = ()  # fields that hold what was said, or a secret
    thread = ""  # where a row of this model says which thread it belongs to
    view_on_site = False

    class Media:
        css = {"all": ["chat/admin/history.css", "chat/admin/parts.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        """The rows of those threads that the access policy lets this member of the staff find."""
        rows = super().get_queryset(request)
        threads = administered_threads(request.user) if self.thread else None
        return rows if threads is None else rows.filter(**{f"{self.thread}__in": threads})

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Not what the site adds for every admin: deleting is such an action.
        return {name: found for name, found in super().get_actions(request).items() if name in (self.actions or ())}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        # Else ?parts__startswith=… would tell a field letter by letter.
        return lookup.partition("__")[0] not in self.hidden and super().lookup_allowed(lookup, value, request)

    def ids(self, term: str) -> Q:
        """The condition for rows that ``term`` names by an id."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """An id that is pasted finds what it names and nothing else; any other term is looked for in the texts."""
        if term := search_term.strip():
            named = queryset.filter(self.ids(term))
            if named.exists():
                return named, False
        found, repeats = super().get_search_results(request, queryset, search_term)
        if not term or not self.may_view(request, Message) or (said := self.says(term)) is None:
            return found, repeats
        note_view(request.user, SEARCH, self.opts.model_name)
        return queryset.filter(Q(pk__in=found.order_by().values("pk")) | said), False

    def says(self, term: str) -> Q | None:
        """The condition for rows in whose messages the words of ``term`` are; None for rows without messages. To ask it
        is to look into them: who may not view messages may not, and it is noted.
        """
        return None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django's own says "Select thread to view".
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, "notes": self.notes(), **(extra_context or {})})

    def notes(self) -> list[str]:
        """What stands above a list: for how long its rows are kept, and what there is to know of all of them."""
        return []

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: M | None = None,
    ) -> HttpResponse:
        if self.is_audited and obj is not None:
            note_view(request.user, self.opts.model_name, obj.pk)
        # It goes into the browser's title bar, which knows no markup that would hold a bidi override in.
        context["subtitle"] = one_line(str(obj))
        return super().render_change_form(request, context, add, change, form_url, obj)

    def may_view(self, request: HttpRequest, model: type[Model]) -> bool:
        """Whether the asker may see rows of another model, which a page of this one would show."""
        names = (get_permission_codename(action, model._meta) for action in ("view", "change"))
        return any(request.user.has_perm(f"{model._meta.app_label}.{name}") for name in names)

    def url(self, model: type[Model], page: str, *args: Any) -> str:
        """The address of an admin page; empty where the project took that model out of its admin."""
        try:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
            return reverse(name, args=args, current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""

    def link(self, model: type[Model], pk: Any, text: str) -> SafeString:
        """A link to a row's page, on one line. ``text`` may come from anybody."""
        text, url = one_line(text), self.url(model, "change", pk)
        if not url:
            return format_html('<bdi class="chat-link">{}</bdi>', text)
        return format_html('<a class="chat-link" href="{}" title="{}"><bdi>{}</bdi></a>', url, text, text)

    def place(self, message: Message) -> SafeString | str:
        """A link to where a message stands in the transcript of its thread."""
        url = self.url(Thread, "change", message.thread_id)
        query = f"?before={message.pk + 1}#message-{message.pk}"
        return format_html('<a href="{}{}">Show it in the transcript</a>', url, query) if url else ""


def as_uuid(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def as_number(term: str) -> int | None:
    """``term`` as a primary key; None for what is none, and what PostgreSQL would refuse as one."""
    # Not more digits than int() takes without complaint.
    number = int(term) if term.isascii() and term.isdecimal() and len(term) < 20 else None
    return number if number is not None and number <= BigAutoField.MAX_BIGINT else None
