"""HTTP servers of the Meta simulator: Graph API, media host and control API."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.http_server import QueueingHTTPServer
from tests.simulators import accounts, control
from tests.simulators.errors import GraphError
from tests.simulators.media import Medium, parse_form

if TYPE_CHECKING:
    from tests.simulators.meta import MetaSimulator

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """A request of the portal. Header names are lower case."""

    method: str
    path: str  # without the version
    version: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            raise GraphError(100, "The body is not JSON.") from None


@dataclass(kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # close the connection after this many bytes of the body; -1: before the response


def reply_with(content: Any, *, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(content, ensure_ascii=False).encode())


class GraphServer:
    def __init__(self, meta: MetaSimulator, *, host: str, port: int, own_media_host: bool) -> None:
        self.meta, self.own_media_host = meta, own_media_host
        self.graph = _server(self.answer_graph, host, port)
        self.files = _server(self.answer_files, host, port + 1 if port else 0)
        self.fetched: list[ApiCall] = []  # requests to the media host

    def start(self) -> None:
        for server in (self.graph, self.files):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True, name="simulator").start()

    def stop(self) -> None:
        for server in (self.graph, self.files):
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.graph.server_address[0]!s}:{self.graph.server_address[1]}"

    @property
    def media_url(self) -> str:
        if not self.own_media_host:
            return self.url
        return f"http://{self.files.server_address[0]!s}:{self.files.server_address[1]}"

    @property
    def foreign_url(self) -> str:
        """Return the URL of a host that is not the provider's and must get no request, least of all with the token."""
        return f"http://localhost:{self.files.server_address[1]}"

    # --- the Graph API ---

    def answer_graph(self, call: ApiCall) -> Reply:
        try:
            if call.path.startswith("_simulator"):
                return reply_with(control.answer(self.meta, call))
            if call.path.startswith("whatsapp_business/") and not self.own_media_host:
                return self.answer_files(call)
            self.meta.api_calls.append(call)
            self._check_token(call)
            return self._route(call)
        except GraphError as error:
            return reply_with(error.build_response(), status=error.status)

    def _check_token(self, call: ApiCall) -> None:
        presented = call.headers.get(self.meta.auth_header.lower(), "")
        expected = self.meta.access_token
        if self.meta.auth_header == "Authorization":
            expected = f"{'OAuth' if call.path.startswith('upload:') else 'Bearer'} {expected}"
        if presented != expected:
            raise GraphError(190, "Error validating access token: the token is missing, expired or revoked.")

    def _route(self, call: ApiCall) -> Reply:
        meta = self.meta
        owner, _, edge = call.path.rpartition("/")
        if edge in ("messages", "media") and call.method == "POST" and owner in ("", meta.phone_number_id):
            return self._message(call) if edge == "messages" else self._upload(call)
        if call.path == "app/uploads" and call.method == "POST":
            return reply_with({"id": meta.media.open_session(call.query)})
        if call.path.startswith("upload:") and call.method == "POST":
            return reply_with({"h": meta.media.close_session(call)})
        medium = meta.media.media.get(call.path)
        if medium is not None and call.method == "GET":
            return reply_with(self._address(meta.media.find(medium.id, now=meta.now())))
        if medium is not None and call.method == "DELETE":
            del meta.media.media[medium.id]
            return reply_with({"success": True})
        how = "right" if call.method == "GET" else meta.switches.take("manage")
        if how == "lost":
            return Reply(cut_at=-1)
        answer = reply_with(accounts.answer(meta, call))
        answer.cut_at = -1 if how == "cut" else None
        return answer

    def _message(self, call: ApiCall) -> Reply:
        how = self.meta.switches.take("answer")
        if how == "lost":
            return Reply(cut_at=-1)
        if how == "500":
            raise GraphError(2, "Service temporarily unavailable", status=500)
        if how == "page":
            return Reply(body=b"<html>Welcome to the hotel</html>", headers={"Content-Type": "text/html"})
        answer = reply_with(self.meta.intake.take(call.json))
        if how == "slow":
            time.sleep(self.meta.switches.see("slow_seconds"))
        if how == "created":
            answer.status = 201
        elif how == "html":
            return Reply(status=502, body=b"<html><h1>Bad gateway</h1></html>", headers={"Content-Type": "text/html"})
        elif how in ("cut", "half"):
            answer.cut_at = -1 if how == "cut" else len(answer.body) // 2
        return answer

    def _upload(self, call: ApiCall) -> Reply:
        form, mime, name = parse_form(call.body, call.headers.get("content-type", ""))
        medium = self.meta.media.take_upload(form, mime, name, now=self.meta.now())
        return reply_with({"id": medium.id})

    def _address(self, medium: Medium) -> Json:
        host = self.media_url
        if self.meta.switches.see("media") == "stranger":
            self.meta.switches.take("media")
            host = self.foreign_url
        return {
            "messaging_product": "whatsapp",
            "url": self.meta.media.address(medium, host=host, now=self.meta.now()),
            "mime_type": medium.mime,
            "sha256": medium.digest.hex(),
            "file_size": len(medium.data),
            "id": medium.id,
        }

    # --- the media host ---

    def answer_files(self, call: ApiCall) -> Reply:
        self.fetched.append(call)
        medium = self.meta.media.behind(call.query.get("hash", ""), now=self.meta.now())
        try:
            self._check_token(call)
        except GraphError as error:
            return reply_with(error.build_response(), status=401)
        how = self.meta.switches.take("media")
        if medium is None or how == "gone":
            return Reply(status=404, body=b"")
        match how:
            case "500":
                return Reply(status=500, body=b"")
            case "html":
                return Reply(body=b"<html>Log in</html>", headers={"Content-Type": "text/html"})
            case "redirect":
                return Reply(status=302, body=b"", headers={"Location": f"{self.foreign_url}/stolen"})
            case "slow":
                time.sleep(self.meta.switches.see("slow_seconds"))
        data = bytes(byte ^ 1 for byte in medium.data) if how == "wrong_bytes" else medium.data
        reply = Reply(body=data, headers={"Content-Type": medium.mime})
        reply.cut_at = len(data) // 2 if how == "short" else None
        return reply


def _server(handle: Any, host: str, port: int) -> QueueingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any(self) -> None:
            reply = handle(self.read_call())
            with suppress(ConnectionError):
                if reply.cut_at == -1:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut_at])
                self.close_connection = self.close_connection or reply.cut_at is not None

        do_GET = do_POST = do_DELETE = any

        def read_call(self) -> ApiCall:
            parts = urlsplit(self.path)
            version, path = re.fullmatch(r"/?(v\d+\.\d+)?/*(.*?)/*", parts.path).groups()  # type: ignore[union-attr]  # it always fits
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return ApiCall(
                method=self.command,
                path=path,
                version=version or "",
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
            )

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return QueueingHTTPServer((host, port), Handler)
