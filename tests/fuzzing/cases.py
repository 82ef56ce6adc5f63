"""Hypothesis strategies for hostile requests: routes, forms, API calls, webhooks and headers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.apps import apps
from hypothesis import strategies as st

from bridge.uapi.methods import METHODS
from tests.cloud_accounts import APP_SECRET
from tests.cloud_corpus import signed
from tests.fuzzing import values
from tests.fuzzing.pages import Form, Route, Site
from tests.fuzzing.portal import Request
from tests.fuzzing.scene import CSRF, Scene

ROLES = ("", "operator", "admin", "superuser")
PAYLOADS = Path(__file__).parent.parent / "payloads"
FORM = "application/x-www-form-urlencoded"
# Parameters that pages or frameworks accept, but that no link contains.
USUAL = (
    "q",
    "p",
    "o",
    "e",
    "all",
    "_popup",
    "_to_field",
    "_facets",
    "page",
    "next",
    "lang",
    "choice",
    "find",
    "after",
    "before",
    "at",
    "id__in",
)


def text_as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(text_as_bytes(name), safe='[]')}={quote(text_as_bytes(value))}" for name, value in pairs)


def known_path(scene: Scene, route: Route) -> str:
    """Return the route's path with IDs of existing rows."""
    return route.text.format(**{name: known_id(scene, route, name) for name in route.names})


def known_id(scene: Scene, route: Route, name: str) -> str:
    app, model = [*route.text.split("/"), "", "", ""][2:4]
    if route.text.startswith("/admin/") and name in ("object_id", "pk", "id") and model:
        with suppress(LookupError):
            return str(apps.get_model(app, model).objects.values_list("pk", flat=True).first() or 1)
    return str(scene.ids.get(name.removesuffix("_id"), scene.ids.get(name, scene.ids["pk"])))


class Cases:
    def __init__(self, scene: Scene, routes: list[Route], sites: list[Site], schema: dict[str, Any]) -> None:
        self.scene, self.routes, self.schema = scene, routes, schema
        self.forms = [form for site in sites for form in site.forms]
        self.pages = [page for site in sites for page in site.pages if page[2]]
        self.payloads = [
            (kind, path.read_bytes()) for kind in scene.webhooks for path in sorted((PAYLOADS / kind).glob("*.json"))
        ]

    def any(self) -> st.SearchStrategy[tuple[str, Request]]:
        """Draw a role and a request."""
        kinds = (
            self.route,
            self.page,
            self.page,
            self.form,
            self.form,
            self.form,
            self.uapi,
            self.uapi,
            self.api,
            self.webhook,
            self.head,
            self.parts,
        )
        return st.one_of(*(kind() for kind in kinds))

    # --- people ---

    @st.composite
    def _route(draw: Any, self: Cases) -> tuple[str, Request]:
        route = draw(st.sampled_from(self.routes))
        path = route.text
        for name in route.names:
            value = draw(st.sampled_from([known_id(self.scene, route, name)] * 3) | values.texts)
            path = path.replace("{" + name + "}", value, 1)
        names = [*route.asked, *route.asked, *USUAL]
        pairs = draw(st.lists(st.tuples(st.sampled_from(names), values.texts), max_size=3))
        method = draw(st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]))
        if method == "POST":
            pairs.append(("csrfmiddlewaretoken", CSRF))
            return draw(st.sampled_from(ROLES)), Request(
                method, path, body=encoded(pairs).encode(), content_type=FORM, origin="route"
            )
        return draw(st.sampled_from(ROLES)), Request(method, path, encoded(pairs), origin="route")

    def route(self) -> Any:
        return Cases._route(self)

    @st.composite
    def _page(draw: Any, self: Cases) -> tuple[str, Request]:
        role, path, names = draw(st.sampled_from(self.pages))
        pairs = draw(st.lists(st.tuples(st.sampled_from(names), values.texts), min_size=1, max_size=2))
        return role, Request("GET", path, encoded(pairs), origin="page")

    def page(self) -> Any:
        return Cases._page(self)

    @st.composite
    def _form(draw: Any, self: Cases) -> tuple[str, Request]:
        form: Form = draw(st.sampled_from(self.forms))
        fields = [(name, CSRF if name == "csrfmiddlewaretoken" else value) for name, value in form.fields]
        for _number in range(draw(st.integers(1, 2))):
            where = draw(st.integers(0, max(0, len(fields) - 1))) if fields else 0
            if fields and fields[where][0] != "csrfmiddlewaretoken":
                fields[where] = (fields[where][0], draw(values.texts))
        if draw(st.integers(0, 9)) == 0 and fields:
            fields.pop(draw(st.integers(0, len(fields) - 1)))
        if form.method == "GET":
            return form.role, Request("GET", form.path, encoded(fields), origin="form")
        if form.files or form.is_multipart or draw(st.integers(0, 7)) == 0:
            content_type, body = draw(values.multipart(dict(fields), tuple(form.files) or ("file",)))
            return form.role, Request("POST", form.path, form.query, body, content_type, origin="form")
        return form.role, Request("POST", form.path, form.query, encoded(fields).encode(), FORM, origin="form")

    def form(self) -> Any:
        return Cases._form(self)

    # --- programs ---

    @st.composite
    def _uapi(draw: Any, self: Cases) -> tuple[str, Request]:
        name = draw(st.sampled_from(sorted(METHODS)))
        view: Any = METHODS[name].view_class  # type: ignore[attr-defined]
        known = self._usual_values()
        asked: dict[str, Any] = {key: known[key] for key in sorted(view.parameters.used) if key in known}
        candidates = sorted(view.parameters.used | view.parameters.without_effect | {"message", "api_token"})
        for _number in range(draw(st.integers(1, 2))):
            key = draw(st.sampled_from(candidates))
            if key == "message" and draw(st.booleans()):
                asked["message"] = {
                    **known["message"],
                    draw(st.sampled_from(["text", "id", "timestamp", "files", "from"])): draw(values.values),
                }
            elif key == "message":
                inner = {
                    **known["message"]["from"],
                    draw(st.sampled_from(["client_id", "okno_client_id", "phone", "name", "email"])): draw(
                        values.scalars
                    ),
                }
                asked["message"] = {**known["message"], "from": inner}
            else:
                asked[key] = draw(values.values)
        asked.setdefault("api_token", self.scene.key)
        return "", draw(self._encoded_call(f"/uapi/{name}", asked))

    def _usual_values(self) -> dict[str, Any]:
        ids = self.scene.ids
        message = {"text": "Да", "id": "u1", "from": {"client_id": "7", "phone": "+79215550101", "name": "Ира"}}
        return {
            **{
                "chat_id": ids["chat"],
                "channel_id": ids["channel"],
                "user_id": ids["user"],
                "ticket_id": ids["ticket"],
            },
            **{"client_id": ids["contact"], "message": message, "text": "Да", "subject": "Заказ", "name": "Ира"},
            **{"phone": "+79215550101", "client_phone": "+79215550101", "client_name": "Ира", "id": ids["ticket"]},
        }

    @st.composite
    def _encoded_call(draw: Any, self: Cases, path: str, asked: dict[str, Any]) -> Request:
        how = draw(st.sampled_from(["json", "json", "form", "query", "multipart"]))
        if how == "json":
            return Request(
                "POST", path, body=json.dumps(asked).encode(), content_type="application/json", origin="uapi"
            )
        pairs = [(name, value if isinstance(value, str) else str(value)) for name, value in _flat(asked, "")]
        if how == "form":
            return Request("POST", path, body=encoded(pairs).encode(), content_type=FORM, origin="uapi")
        if how == "query":
            return Request(draw(st.sampled_from(["GET", "POST"])), path, encoded(pairs), origin="uapi")
        content_type, body = draw(values.multipart(dict(pairs)))
        return Request("POST", path, body=body, content_type=content_type, origin="uapi")

    def uapi(self) -> Any:
        return Cases._uapi(self)

    @st.composite
    def _api(draw: Any, self: Cases) -> tuple[str, Request]:
        path, method, call = draw(st.sampled_from(self._operations()))
        for name in ("id", "pk", "note_id", "note", "template"):
            path = path.replace(
                "{" + name + "}",
                draw(
                    st.sampled_from(
                        [str(self.scene.ids["pk"])] * 9
                        + [str(self.scene.ids["template"])] * 9
                        + list(values.NUMBERS[-9:])
                    )
                ),
            )
        names = [one["name"] for one in call.get("parameters", []) if one["in"] == "query"] or ["x"]
        pairs = draw(st.lists(st.tuples(st.sampled_from(names), values.texts), max_size=2))
        head = {"HTTP_AUTHORIZATION": self.scene.tokens[draw(st.sampled_from(["operator", "admin"]))]}
        request = Request(method.upper(), path, encoded(pairs), headers=head, origin="api")
        if "requestBody" in call:
            request.body, request.content_type = json.dumps(draw(self._body(call))).encode(), "application/json"
        return "", request

    def _operations(self) -> list[tuple[str, str, Any]]:
        return [
            (path, method, call)
            for path, calls in self.schema["paths"].items()
            for method, call in calls.items()
            if isinstance(call, dict)
        ]

    @st.composite
    def _body(draw: Any, self: Cases, call: Any) -> Any:
        schema = next(iter(call["requestBody"]["content"].values()))["schema"]
        usual = self._usual_of(schema)
        if isinstance(usual, dict) and usual and draw(st.integers(0, 9)):
            return {**usual, draw(st.sampled_from(sorted(usual))): draw(values.values)}
        return draw(values.values)

    def _usual_of(self, schema: dict[str, Any]) -> Any:
        """Draw a body that matches the schema."""
        if "$ref" in schema:
            return self._usual_of(self.schema["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        for several in ("allOf", "oneOf", "anyOf"):
            if several in schema:
                return self._usual_of(schema[several][0])
        kind = schema.get("type")
        if kind == "object":
            return {name: self._usual_of(inner) for name, inner in schema.get("properties", {}).items()}
        if kind == "array":
            return [self._usual_of(schema.get("items", {}))]
        if "enum" in schema:
            return schema["enum"][0]
        return {"integer": self.scene.ids["user"], "boolean": True, "number": 1.5}.get(str(kind), "Да")

    def api(self) -> Any:
        return Cases._api(self)

    @st.composite
    def _webhook(draw: Any, self: Cases) -> tuple[str, Request]:
        kind, payload = draw(st.sampled_from(self.payloads))
        try:
            body = json.loads(payload)
            for _number in range(draw(st.integers(1, 3))):
                _spoil(draw, body)
            data = json.dumps(body).encode()
        except ValueError:
            data = payload
        head = signed(data, APP_SECRET) if kind == "whatsapp_cloud" else {}
        headers = {
            "HTTP_" + name.upper().replace("-", "_"): value for name, value in head.items() if name != "Content-Type"
        }
        return "", Request(
            "POST",
            self.scene.webhooks[kind],
            body=data,
            content_type="application/json",
            headers=headers,
            origin="webhook",
        )

    def webhook(self) -> Any:
        return Cases._webhook(self)

    # --- heads and parts ---

    @st.composite
    def _head(draw: Any, self: Cases) -> tuple[str, Request]:
        places = [
            "/",
            "/login/",
            "/chats/",
            "/admin/",
            "/admin/login/",
            "/api/v1/conversations/",
            "/health/ready",
            "/metrics",
            "/api/schema/",
            "/files/1/",
            "/static/desk.css",
        ]
        places += [
            *self.scene.addresses,
            *self.scene.webhooks.values(),
            "/uapi/channels",
            f"/chats/{self.scene.ids['chat']}/send/",
            "/i18n/setlang/",
            "/chats/updates/",
            "/nowhere",
        ]
        method = draw(st.sampled_from(["GET", "POST"]))
        body = (
            encoded([("csrfmiddlewaretoken", CSRF), ("text", "Да"), ("api_token", self.scene.key)]).encode()
            if method == "POST"
            else b""
        )
        request = Request(
            method, draw(st.sampled_from(places)), "x=1&lang=en", body, FORM if body else "", origin="head"
        )
        head = draw(values.headers)
        request.content_type = head.pop("CONTENT_TYPE", request.content_type)
        request.headers = head
        return draw(st.sampled_from(ROLES)), request

    def head(self) -> Any:
        return Cases._head(self)

    @st.composite
    def _parts(draw: Any, self: Cases) -> tuple[str, Request]:
        chat = self.scene.ids["chat"]
        places = [
            ("operator", f"/chats/{chat}/files/"),
            ("operator", f"/chats/{chat}/send/"),
            ("superuser", "/admin/templates_registry/template/import/"),
        ]
        places += [
            ("", "/login/"),
            ("", "/uapi/chat/addMessage"),
            ("", "/uapi/create/comment"),
            ("operator", "/uapi/create/ticket"),
            ("", self.scene.addresses[2]),
        ]
        role, path = draw(st.sampled_from(places))
        fields = {
            "csrfmiddlewaretoken": CSRF,
            "api_token": self.scene.key,
            "channel_id": str(self.scene.ids["channel"]),
            "chat_id": str(chat),
        }
        fields |= {
            "message[text]": "Да",
            "message[from][phone]": "+79215550101",
            "ticket_id": str(self.scene.ids["ticket"]),
            "user_id": str(self.scene.ids["user"]),
        }
        content_type, body = draw(values.multipart(fields))
        return role, Request("POST", path, body=body, content_type=content_type, origin="parts")

    def parts(self) -> Any:
        return Cases._parts(self)


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{name}[{key}]" if name else str(key))]
    if isinstance(value, list):
        return [pair for number, inner in enumerate(value) for pair in _flat(inner, f"{name}[{number}]")]
    return [(name, "" if value is None else value)]


def _spoil(draw: Any, body: Any) -> None:
    """Replace one value anywhere in the structure."""
    place = body
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 4)) == 0:
            place[key] = draw(values.values)
            return
        place = place[key]
