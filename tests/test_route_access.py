"""Every route with every role: who is let in, who is refused, and that no other channel's row is read or changed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.utils import timezone

from bridge.models import ContactField, Heartbeat, RetentionKind, RetentionRule, TicketField
from channels_setup.admin import address_actions
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from config.accounts.adapters import MfaAdapter
from config.accounts.admin import people
from config.accounts.models import ApiToken, ServiceAccount
from config.web import route_access
from config.web.route_access import Audience
from templates_registry.admin.actions import ACTIONS
from templates_registry.models import Template, TemplateTags
from tests.channel_worlds import CANARIES, PHONE, TEXT, WORD, Snapshot, World, make_world
from tests.factories import UserFactory, token_of, vera

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

A = Audience
STRANGERS = ["anonymous", "bad token", "staff", "staff token"]
FOREIGN = ["foreign", "foreign token", "neighbor"]  # the neighbor's chat channel has the same API channel
OWN = ["own", "own token"]
SUPERVISORS = ["supervisor", "supervisor token"]  # of channel A, too
AUDITORS = ["auditor", "auditor token"]
ADMINS = ["admin", "admin token", "superuser", "superuser token"]
EVERYBODY = {*STRANGERS, *FOREIGN, *OWN, *SUPERVISORS, *AUDITORS, *ADMINS}
TOKENS = {role for role in EVERYBODY if role.endswith("token")}
SIGNED_IN = EVERYBODY - TOKENS - {"anonymous"}
CHAT_USERS = {*FOREIGN, *OWN, *SUPERVISORS, *ADMINS}

# Roles that each route lets in, for rows that they may see. ``staff`` has no permission and no chat channel.
ALLOWED: dict[Audience, set[str]] = {
    A.ANYONE: EVERYBODY,
    A.LINK: EVERYBODY,
    A.API_KEY: set(),  # the key decides: tests/test_api_key_access.py
    A.API_USERS: CHAT_USERS,
    A.API_SETTINGS: {*CHAT_USERS, *AUDITORS},
    A.API_ADMINS: {*ADMINS},
    A.API_PERMITTED: {*ADMINS},
    A.USERS: CHAT_USERS & SIGNED_IN,
    A.REPORTS: {"supervisor", "admin", "superuser"},
    A.OWN_ACCOUNT: SIGNED_IN,
    A.OWN_ROWS: {"own"},
    A.PERMITTED: {"admin", "superuser"},
    A.SCRAPERS: {"staff token", "auditor token", "admin token", "superuser token"},
    A.STAFF: {"staff", "auditor", "admin", "superuser"},
    A.SETTINGS: {"auditor", "admin", "superuser"},
    A.ADMINS: {"admin", "superuser"},
    A.SUPERUSERS: {"superuser"},
}
# Routes whose path names a row of channel A. Without access the answer is the same as for a missing row.
SCOPED = {A.API_USERS, A.API_SETTINGS, A.API_PERMITTED, A.USERS, A.REPORTS, A.PERMITTED, A.OWN_ROWS}
METHODS = ("POST", "GET")
READING, WRITING = ("GET",), ("POST", "PATCH", "DELETE")
# Pages for people that read ids or texts from the query.
SEARCHED = {
    *("", "chats/", "chats/updates/", "requests/", "windows/", "windows/missed.csv", "templates/"),
    *("chats/<int:pk>/", "chats/<int:pk>/canned-responses/", "chats/<int:pk>/templates/"),
    *("chats/<int:pk>/client/merge/", "chats/<int:pk>/client/tags/suggested/", "chats/<int:pk>/people/"),
    *("chats/find/", "chats/next-waiting/", "contacts/", "contacts/new-chat/", "desk/views/add/"),
}
API_METHODS = ("POST", "PATCH", "PUT", "DELETE", "GET")
# Routes that nobody enters: they do not exist or redirect to the login.
NOWHERE = {"^api/", "uapi/<path:name>", "admin/(?P<url>.*)$", "admin/r/<path:content_type_id>/<path:object_id>/"}
NOWHERE |= {"logout/", "admin/logout/"}
# Only during a sign-in, or with single sign-on set up: tests/test_own_account.py, tests/test_single_sign_on.py.
NOWHERE |= {
    *("account/second-factor/authenticate/", "account/second-factor/webauthn/login/", "account/sso/error/"),
    *("account/second-factor/totp/deactivate/", "account/second-factor/recovery-codes/"),
    "account/second-factor/recovery-codes/download/",
    *("account/sso/<str:provider_id>/login/", "account/sso/<str:provider_id>/callback/", "account/sso/signup/"),
}
# Rows shared by all operators of one API channel.
SHARED = ("api/v1/^channels", "api/v1/^templates", "templates/", "phone/")
# Refused with a sentence in the chat.
REFUSED_IN_CHAT = {"chats/<int:pk>/client/merges/<int:merge_id>/undo/"}
# Admin pages of models whose rows cannot be added, deleted or edited by hand.
MAY_BE_CLOSED = ("/add/", "/delete/", "/history/", "admin/autocomplete/", "/check/")
# Rows that only their author opens, whatever the role. For imports see tests/test_contact_import.py.
OF_AUTHORS = ("chats/<int:pk>/files/<int:upload_id>/", "contacts/import/<int:pk>/")
NO_BUTTON = "nothing"  # the model's rows have none

ROW_OF_PARAMETER = {
    "note_id": "contactnote",
    "upload_id": "upload",
    "merge_id": "contactmerge",
    "message_id": "message",
    "file_id": "attachment",
    "template_id": "template",
    "held_id": "heldreply",
    "macro_id": "macro",
    "id": "user",
}
ROW_OF_ROUTE = {
    "api/v1/^conversations": "conversation",
    "api/v1/^contacts": "contact",
    "api/v1/^messages": "message",
    "api/v1/^deliveries": "delivery",
    "api/v1/^webhook-events": "webhookevent",
    "api/v1/^channels": "apichannel",
    "api/v1/^chat-channels": "chatchannel",
    "api/v1/^teams": "team",
    "api/v1/^templates": "template",
    "api/v1/^held-replies": "heldreply",
    "files/": "attachment",
    "chats/": "conversation",
    "templates/": "template",
    "desk/replies/": "ownmacro",
    "desk/views/": "savedview",
    "contacts/import/": "contactimport",
    "admin/bridge/deadletter/bulk-actions/": "bulk_action",
    "admin/r/": "message",
    "phone/": "apichannel",
    "account/sessions/": "usersession",
    "account/tokens/": "apitoken",
    "account/second-factor/webauthn/keys/": "authenticator",
}
SECRET_OF_ROUTE = {
    "webhooks/": "path_token",
    "files/shared/": "file",
    "shared/": "shared",
    "send/": "template_link",
    "handover/": "handover",
}
WORDS = {
    "kind": "sandbox",
    "reply_kind": "macro",
    "view_page": "chats",
    "file_format": "csv",
    "content_type_id": "1",
    "name": "nothing",
    "url": "nothing",
    "uidb36": "1",
    "key": "k-1",
    "provider_id": "company",
    "app_label": "bridge",
}
PARAMETER = re.compile(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of the resolver with its declared audience."""

    route: str
    audience: Audience
    view: Any

    @property
    def parameters(self) -> list[str]:
        return [first or second for first, second in PARAMETER.findall(self.route)]

    @property
    def names_a_row(self) -> bool:
        return any(name == "pk" or name in ROW_OF_PARAMETER for name in self.parameters)

    @property
    def is_api(self) -> bool:
        return self.route.startswith("api/v1/")

    @property
    def is_page_of_django(self) -> bool:
        """Return whether this is one of the six pages that Django creates for each admin model."""
        page = "/".join(self.route.split("/")[3:])
        return self.route.startswith("admin/") and page in route_access.MODEL_PAGES

    @property
    def methods(self) -> tuple[str, ...]:
        return API_METHODS if self.is_api else METHODS

    def path(self, world: World, *, inner: World | None = None) -> str:
        """Return the URL for the world's rows; with ``inner``, ids after the first belong to that other world."""
        first = iter([world])
        filled = PARAMETER.sub(lambda found: self._value(found[1] or found[2], next(first, inner or world)), self.route)
        return "/" + filled.replace("/?$", "/").replace("^", "").replace("$", "")

    def _value(self, name: str, world: World) -> str:
        if name in WORDS:
            return WORDS[name]
        if name in ("token", "signature"):
            return world.secrets[next(key for start, key in SECRET_OF_ROUTE.items() if self.route.startswith(start))]
        if name in ("what", "action", "slug"):
            return next(iter(self._buttons()), NO_BUTTON)
        row = ROW_OF_PARAMETER.get(name) or next(
            (row for start, row in ROW_OF_ROUTE.items() if self.route.startswith(start)), self.route.split("/")[2:3][0]
        )
        return str(world[row].pk)

    def _buttons(self) -> Any:
        if "/bulk/" in self.route:
            return ["resend"]
        if "/action/" in self.route:
            return ACTIONS
        if "/chatchannel/" in self.route:
            return address_actions.ACTIONS
        if "/access/" in self.route:
            return people.ACCESS_ACTIONS
        model_admin = next(one for model, one in admin.site._registry.items() if model._meta.label_lower == self._label)
        return getattr(model_admin, "buttons", None) or getattr(model_admin, "page_actions", ())

    @property
    def _label(self) -> str:
        return ".".join(self.route.split("/")[1:3])


def all_routes() -> list[Route]:
    found = []
    for route, pattern in route_access.list_routes():
        audience = route_access.audience_for(route)
        assert audience is not None, f"{route}: declare who may use it in config/web/route_access.py"
        if route_access.route_key(route) == route_access.APP_INDEX:
            route = "admin/<app_label>/"
        found.append(Route(route=route, audience=audience, view=pattern.callback))
    return found


def test_every_route_declares_its_audience() -> None:
    assert route_access.check_routes_declared(None) == []
    known = {route_access.route_key(route) for route, _pattern in route_access.list_routes()}
    assert sorted(set(route_access.ROUTES) - known) == []


def test_a_route_without_a_declaration_is_an_error(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls_undeclared"

    assert [error.id for error in route_access.check_routes_declared(None)] == ["okno.E004"]


# --- test data and roles -----------------------------------------------------------------------------------


@dataclass
class Stage:
    """Channel A, which every role requests; the other operator's own channel; and a snapshot of A."""

    a: World
    b: World
    before: Snapshot


@pytest.fixture
def stage() -> Stage:
    a = make_world("a", text=TEXT, phone=PHONE)
    a.rows |= _shared_rows(a)
    before = Snapshot()
    b = make_world("b")
    b.rows["authenticator"] = a["authenticator"]
    return Stage(a=a, b=b, before=before)


def _shared_rows(a: World) -> dict[str, Any]:
    now = timezone.now()
    attempt = {"username": "x", "ip_address": "198.51.100.7", "path_info": "/login/"}
    return {
        "user": a.operator,
        "group": Group.objects.get(name="Admin"),
        "heartbeat": Heartbeat.objects.create(name="beat", at=now),
        "ticketfield": TicketField.objects.create(name="Size"),
        "contactfield": ContactField.objects.create(name="Size"),
        "retentionrule": RetentionRule.objects.create(kind=RetentionKind.AUDIT, days=1095),
        "templatetags": TemplateTags.objects.create(user=a.operator, tags=[]),
        "usersession": UserSession.objects.create(user=a.operator, ip="198.51.100.7", session_key="k", user_agent="x"),
        "authenticator": Authenticator.objects.create(
            user=a.operator, type=Authenticator.Type.TOTP, data={"secret": MfaAdapter().encrypt("ABC")}
        ),
        "apitoken": ApiToken.issue(a.operator, name="x")[0],
        "serviceaccount": ServiceAccount.create("program"),
        "accessattempt": AccessAttempt.objects.create(**attempt, failures_since_start=1),
        "accesslog": AccessLog.objects.create(**attempt),
        "accessfailurelog": AccessFailureLog.objects.create(**attempt),
    }


class Asker:
    """One role's client and the headers of its token."""

    def __init__(self, role: str, stage: Stage) -> None:
        self.role = role
        # Not loopback: /metrics trusts programs on this machine.
        self.client = Client(raise_request_exception=False, REMOTE_ADDR="198.51.100.9", HTTP_ACCEPT_LANGUAGE="en")
        self.user = self._user(stage)
        if role in SIGNED_IN:
            self.client.force_login(self.user)
        headers = token_of(self.user) if self.user and role.endswith("token") else {}
        if role == "neighbor":  # as the desk's script requests parts of pages
            headers = {"hx-request": "true"}
        self.headers = {"authorization": "Token " + "0" * 40} if role == "bad token" else headers

    def _user(self, stage: Stage) -> Any:
        match self.role.removesuffix(" token"):
            case "own":
                return stage.a.operator
            case "foreign" | "neighbor":
                return stage.b.operator
            case "admin":
                return vera()
            case "superuser":
                return UserFactory(username="root", is_staff=True, is_superuser=True)
            case "supervisor":
                user = UserFactory(username="supervisor")
                assign_role(user, role=Role.SUPERVISOR, chat_channels=[stage.a.chat_channel])
                return user
            case "auditor":
                user = UserFactory(username="auditor")
                assign_role(user, role=Role.AUDITOR)
                return user
            case "staff":
                return UserFactory(username="staff", is_staff=True)
            case _:
                return None

    def ask(self, method: str, path: str, *, body: Any = None, as_json: bool = False) -> Any:
        kind = {"content_type": "application/json"} if as_json and method != "GET" else {}
        data = json.dumps(body or {}) if kind else body
        return getattr(self.client, method.lower())(path, data, headers=self.headers, **kind)

    def methods_for(self, route: Route) -> tuple[str, ...]:
        """Return the methods to try: fewer where permissions are checked before the method."""
        if self.role in TOKENS and not route.is_api and route.audience not in (A.ANYONE, A.API_KEY, A.LINK):
            return READING
        return READING if route.is_page_of_django else route.methods


def text_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace") + " ".join(f"{value}" for value in response.headers.values())


def is_refused(response: Any) -> bool:
    return response.status_code in (401, 403, 404, 405) or "/login/" in response.headers.get("Location", "")


def leads_elsewhere(response: Any) -> bool:
    """Return whether the admin redirected to its index or login, as it does for rows that it does not show."""
    leads_to = response.headers.get("Location", "")
    return leads_to == "/admin/" or leads_to.endswith("/change/")


# --- requests ----------------------------------------------------------------------------------------------


def form_of(a: World) -> dict[str, Any]:
    """Return every field of the desk's and admin's forms, with the ids of channel A."""
    return {
        "text": WORD,
        "upload": [a["upload"].pk],
        "replies_to": a["message"].pk,
        "user": a.operator.pk,
        "ticket": [a["ticket"].pk],
        "status": 3,
        "assignee": a.operator.pk,
        "with": a["contact"].pk,
        "sure": a["contact"].pk,
        "note": "x",
        "add": "x",
        "name": "x",
        "chat": a["conversation"].pk,
        "find": WORD,
        "template": [a["template"].pk],
        "channel": a.api_channel.pk,
        "reason": "x",
        "on": "1",
        "open": "1",
        "choice": "0",
        "_selected_action": [a["ticket"].pk],
        "post": "yes",
        "language": "en",
        "username": "x",
        "password": "x",
    }


def json_bodies(a: World) -> list[dict[str, Any]]:
    return [
        {"text": WORD},
        {"text": WORD, "replies_to": a["message"].pk},
        {"template": {"id": a["template"].pk, "parameters": ["1"]}},
        {"text": WORD, "hold": {"template": {"id": a["template"].pk, "parameters": ["1"]}}},
        {"user_id": a.operator.pk},
        {"channel": a.api_channel.pk, "text": f"{WORD} is ready."},
        {"name": "x"},
        {"parameters": ["1"]},
    ]


def queries(route: Route, a: World) -> Iterator[dict[str, Any]]:
    """Return each list parameter with channel A's value, one at a time because they narrow each other."""
    rows = {
        **dict.fromkeys(("chat", "chat_id"), a["conversation"].pk),
        **dict.fromkeys(("channel", "chat_channel"), a.chat_channel.pk),
        "api_channel": a.api_channel.pk,
        "assignee": a.operator.pk,
        "ticket_id": a["ticket"].pk,
        "message_id": a["message"].pk,
        **dict.fromkeys(("at", "before", "replies_to"), a["message"].pk),
        **dict.fromkeys(("with", "contact"), a["contact"].pk),
        "take": a["cannedresponse"].pk,
        **dict.fromkeys(("q", "find", "search"), WORD),
        "phone": "8" + PHONE[2:],
        "list": "none",
    }
    known = getattr(getattr(route.view, "cls", None), "filters", None)
    if known is None:  # pages for people: a filter is sent alone, ids that only select are sent together
        alone = ({name: rows[name] for name in names} for names in (("q", "find"), ("channel",), ("assignee",)))
        yield from (
            *alone,
            {name: rows[name] for name in ("chat", "at", "before", "replies_to", "with", "contact", "take", "list")},
        )
    else:
        yield from ({name: rows[name]} for name in known if name in rows)


def bodies(route: Route, a: World) -> list[Any]:
    if route.is_api:
        return json_bodies(a)
    bulk = (
        [form_of(a) | {"assign": "1", "go": "1"}]
        if route.route in ("requests/change/", "templates/<int:pk>/send/")
        else []
    )
    return [form_of(a), *bulk]


ROUTES = sorted(all_routes(), key=lambda route: "logout" in route.route)  # this ends the session


@pytest.fixture(autouse=True)
def without_limits_and_log(settings: Any) -> Iterator[None]:
    """Thousands of refusals are expected, and logging each would take as long as the request."""
    settings.API_CALLS_PER_MINUTE = 0
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def no_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip rendering: admins see everything, so only the status of the admin's pages matters."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")


def find_problems(route: Route, role: str, method: str, path: str, response: Any) -> list[str]:
    """Return the problems of one response."""
    label = f"{role}: {method} {path} → {response.status_code}"
    problems = []
    if response.status_code >= 500 and route.route != "health/ready":
        problems.append(f"{label}: server error")
    sees_all_names = route.audience is A.SCRAPERS and role in ALLOWED[A.SCRAPERS]
    is_foreign = role in (*STRANGERS, *FOREIGN, *AUDITORS) and not sees_all_names
    if is_foreign and any(canary in text_of(response) for canary in CANARIES):
        problems.append(f"{label}: contains texts of another channel")
    if route.audience is A.API_KEY:
        refused = response.status_code == 405 or response.json().get("code") in (400, 401)
        return problems if refused else [*problems, f"{label}: no key was required"]
    is_explained = response.status_code == 422 and route.route in REFUSED_IN_CHAT
    is_out = is_refused(response) or is_explained or (response.status_code == 302 and leads_elsewhere(response))
    if role not in ALLOWED[route.audience] and not is_out:
        problems.append(f"{label}: must be refused")
    return problems


def ask_all(
    asker: Asker, route: Route, path: str, world: World, *, methods: tuple[str, ...] = ()
) -> tuple[list[str], bool]:
    """Send every method and body. Return what is wrong, and whether any method let the role in."""
    problems, is_in = [], False
    for method in methods or asker.methods_for(route):
        for body in bodies(route, world) if method in ("POST", "PATCH") else [None]:
            response = asker.ask(method, path, body=body, as_json=route.is_api)
            problems += find_problems(route, asker.role, method, path, response)
            is_in = is_in or not is_refused(response)
            if response.status_code == 405:
                break
    return problems, is_in


def ask_until_in(asker: Asker, route: Route, world: World) -> tuple[list[str], bool]:
    """Send one method and body after another until one is let in. All changes are rolled back."""
    problems, path = [], route.path(world)
    for method in reversed(asker.methods_for(route)):
        for body in bodies(route, world) if method in ("POST", "PATCH") else [None]:
            with transaction.atomic():
                response = asker.ask(method, path, body=body, as_json=route.is_api)
                transaction.set_rollback(True)
            problems += find_problems(route, asker.role, method, path, response)
            if not is_refused(response):
                return problems, True
    return problems, False


@pytest.mark.parametrize("role", STRANGERS)
def test_anonymous_callers_are_refused_except_on_public_routes(role: str, stage: Stage) -> None:
    asker, problems = Asker(role, stage), []
    for route in ROUTES:
        if route.audience is A.LINK or (role in TOKENS and route.is_page_of_django):
            continue  # for the admin's pages a token counts as anonymous, which is its own role
        found, is_in = ask_all(asker, route, route.path(stage.a), stage.a)
        problems += found
        # A wrong token is refused where no token is accepted.
        is_wrong = role == "bad token" and route.route.startswith("api/")
        if route.audience is A.ANYONE and not is_in and route.route not in NOWHERE and not is_wrong:
            problems.append(f"{role}: {route.route} is for anyone")
        if route.audience in SCOPED and route.names_a_row and is_in:
            problems.append(f"{role}: {route.route} is no row of theirs")

    assert not problems, "\n".join(problems)
    assert stage.before.changes() == []


@pytest.mark.parametrize("role", ["foreign", "foreign token"])
def test_an_operator_of_another_channel_reads_and_changes_nothing(role: str, stage: Stage) -> None:
    routes = [route for route in ROUTES if route.audience is not A.LINK and "logout" not in route.route]
    routes = [route for route in routes if role not in TOKENS or not route.is_page_of_django]
    problems = ask_as_another(Asker(role, stage), routes, stage)

    assert not problems, "\n".join(problems)
    assert stage.before.changes() == []


def test_an_operator_of_another_chat_channel_reads_and_changes_nothing() -> None:
    a = make_world("a", text=TEXT, phone=PHONE, shared_text="shared")
    before = Snapshot(shared=(ApiChannel, Template))
    stage = Stage(a=a, b=make_world("neighbor", api_channel=a.api_channel), before=before)
    before.retake()
    audiences = SCOPED - {A.OWN_ROWS}
    routes = [route for route in ROUTES if route.audience in audiences and not route.route.startswith(SHARED)]
    problems = ask_as_another(Asker("neighbor", stage), routes, stage)

    assert not problems, "\n".join(problems)
    assert before.changes() == []


def ask_as_another(asker: Asker, routes: list[Route], stage: Stage) -> list[str]:
    role, problems = asker.role, []
    for route in routes:
        found, is_in = ask_all(asker, route, route.path(stage.a), stage.a)
        problems += found
        if route.audience in SCOPED and route.names_a_row and is_in:
            problems.append(f"{role}: {route.route} answers for a row of another channel")
        is_asked_by_token = route.is_api and role in SIGNED_IN  # the same rows through the same views
        if route.names_a_row and role in ALLOWED[route.audience] and not is_asked_by_token:
            # Their own row in the path, and channel A's ids in the body or after the first id of the path.
            paths = {route.path(stage.b), route.path(stage.b, inner=stage.a)}
            for path in paths:
                problems += ask_all(asker, route, path, stage.a, methods=WRITING)[0]
            problems += ask_all(asker, route, max(paths), stage.a, methods=READING)[0]
    for route in routes:
        is_list = route.is_api and not route.names_a_row
        if role in ALLOWED[route.audience] & (TOKENS if is_list else SIGNED_IN) and (
            route.route in SEARCHED or is_list
        ):
            path = route.path(stage.b)
            for query in ({}, *queries(route, stage.a)):
                problems += find_problems(route, role, "GET", f"{path} {query}", asker.ask("GET", path, body=query))
    return problems


@pytest.mark.parametrize("role", AUDITORS)
def test_an_auditor_reads_settings_and_no_words_of_clients(role: str) -> None:
    a = make_world("a", text=TEXT, phone=PHONE, settings_text="setting")
    a.rows |= _shared_rows(a)
    stage = Stage(a=a, b=make_world("b"), before=Snapshot())
    asker, problems = Asker(role, stage), []
    stage.before.retake()
    for route in ROUTES:
        if route.audience is A.LINK or (role in TOKENS and route.is_page_of_django):
            continue
        path = route.path(a)
        found, is_in = ask_all(asker, route, path, a)
        problems += found
        for query in queries(route, a):
            problems += find_problems(route, role, "GET", f"{path} {query}", asker.ask("GET", path, body=query))
        must_be_in = role in ALLOWED[route.audience] and route.audience in (A.SETTINGS, A.API_SETTINGS)
        if must_be_in and not is_in:
            problems.append(f"{role}: {route.route} does not let them in")

    assert not problems, "\n".join(problems)
    assert stage.before.changes() == []


@pytest.mark.parametrize("role", [*OWN, *SUPERVISORS, *ADMINS])
def test_every_route_lets_its_audience_in(role: str, stage: Stage, no_rendering: None) -> None:
    asker, problems = Asker(role, stage), []
    for route in ROUTES:
        if route.is_page_of_django and role not in ("admin", "own") and route.audience is not A.SUPERUSERS:
            continue  # on Django's own pages a superuser is an admin, and a token is anonymous
        found, is_in = ask_until_in(asker, route, stage.a)
        problems += found
        may_be_closed = route.route in NOWHERE or any(end in route.route for end in MAY_BE_CLOSED)
        may_be_closed = may_be_closed or route.path(stage.a).endswith(f"/{NO_BUTTON}/")
        may_be_closed = may_be_closed or (role not in OWN and route.route.startswith(OF_AUTHORS))
        if role in ALLOWED[route.audience] and not is_in and not may_be_closed:
            problems.append(f"{role}: {route.route} does not let them in")

    assert not problems, "\n".join(problems)


def test_a_link_without_its_secret_is_not_found(stage: Stage) -> None:
    asker, problems = Asker("anonymous", stage), []
    for route in ROUTES:
        if route.audience is A.LINK:
            path = route.path(stage.a)
            secret = path.strip("/").split("/")[-1 if route.route.endswith((">", ">/")) else -2]
            for wrong in ("wrong", secret[:-1], secret.swapcase(), stage.b.secrets["api_key"]):
                for method in METHODS:
                    response = asker.ask(method, path.replace(secret, wrong), body={"text": WORD})
                    problems += find_problems(route, "anonymous", method, path, response)
                    problems += [] if is_refused(response) else [f"{method} {path}: got in"]
            problems += [] if ask_until_in(asker, route, stage.a)[1] else [f"{path}: did not get in"]

    assert not problems, "\n".join(problems)
    assert stage.before.changes() == []
