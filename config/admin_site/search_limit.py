"""Length limit of searches in the admin. Each word of a query adds a condition on every searched field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList, ChangeListSearchForm
from django.http import HttpRequest

MAX_QUERY_LENGTH = 100


class LimitedSearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR] = forms.CharField(required=False, strip=False, max_length=MAX_QUERY_LENGTH)


def limit_admin_searches() -> None:
    """Limit the search field of all lists and the term of autocompletion."""
    ChangeList.search_form_class = LimitedSearchForm
    process_request = AutocompleteJsonView.process_request

    def process_short_request(self: AutocompleteJsonView, request: HttpRequest) -> Any:
        term, *rest = process_request(self, request)
        return (term[:MAX_QUERY_LENGTH], *rest)

    setattr(AutocompleteJsonView, "process_request", process_short_request)  # noqa: B010  # mypy rejects an assignment
