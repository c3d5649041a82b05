"""The page's server: this machine only, a secret in the address, bounded in what it takes, silent, one at a time.

The standard library has what is needed; a framework would bring its own dependencies and connections.
"""

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from minorkey.errors import ConfigError, MinorkeyError, StorageError
from minorkey.system.unforeseen import one_line_of

ADDRESS = "127.0.0.1"
LOCAL = frozenset({"127.0.0.1", "localhost"})
"""What a browser on this machine calls it. Any other name that leads here is a site's that was bound to it."""

LARGEST = 2**25
"""Bytes of an image that is taken."""

CONNECTIONS = 16
WAITING = 4
"""Predictions that wait or are computed; the page itself asks for one at a time."""

PATIENCE = 30.0
"""Seconds that a connection may say nothing."""

Answer = Callable[[Mapping[str, str], bytes], dict[str, Any]]
"""`(query, body) -> what is sent back as JSON`; raises `MinorkeyError` for what a user can mend."""

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageServer(ThreadingHTTPServer):
    """Serves one page, and what it asks for.

    Args:
        port: of this machine; 0: a free one.
        page: the page as HTML, given the nonce that its scripts carry.
        answer: what a request is answered with; is never called twice at a time.

    Raises:
        StorageError: the port is not to be had.
    """

    daemon_threads = True

    def __init__(self, port: int, page: Callable[[str], str], answer: Answer) -> None:
        self.page, self._answer = page, answer
        self.token = secrets.token_urlsafe(24)
        # Torch keeps threads for each thread that calls it: one calls it for all requests.
        self._worker = ThreadPoolExecutor(1)
        self._waiting, self._connections = BoundedSemaphore(WAITING), BoundedSemaphore(CONNECTIONS)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise StorageError(
                f"port {port} cannot be used ({error}); give another --port, or 0 for a free one"
            ) from error

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def answered(self, query: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """The status and the content of an answer; an error is one line of it."""
        if not self._waiting.acquire(blocking=False):
            return 503, {"error": "other predictions are being computed; try again"}
        try:
            return 200, self._worker.submit(self._answer, query, body).result()
        except BaseException as error:
            failed = one_line_of(error)
            return (400 if isinstance(error, MinorkeyError) else 500), {"error": str(failed)}
        finally:
            self._waiting.release()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection in a thread of its own, or end it where there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A connection from its beginning to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is nobody's fault; anything else is one line."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            print(f"minorkey: {one_line_of(error)}", file=sys.stderr)

    def server_close(self) -> None:
        """Free the port."""
        super().server_close()
        self._worker.shutdown(wait=False, cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: PageServer
    timeout = PATIENCE

    def do_GET(self) -> None:
        """The page."""
        if self._place() == "":
            nonce = secrets.token_urlsafe(16)
            self._send(200, "text/html; charset=utf-8", self.server.page(nonce).encode(), nonce)

    def do_POST(self) -> None:
        """A prediction."""
        if self._place() == "predict" and (body := self._body()) is not None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            self._json(*self.server.answered(query, body))

    def _place(self) -> str | None:
        """What is asked for behind the token; None: nothing that there is, which was said."""
        token, slash, place = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not (self._is_local() and slash and secrets.compare_digest(token.encode(), self.server.token.encode())):
            self._json(403, {"error": "open the whole address that `minorkey show` printed, on the machine it runs on"})
        elif place != {"GET": "", "POST": "predict"}[self.command]:
            self._json(404, {"error": "there is nothing here"})
        else:
            return place
        return None

    def _is_local(self) -> bool:
        """Whether a page of ours asks, under a name of this machine: not a site whose name was bound to it."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        try:
            name = urlsplit(f"//{host}").hostname
            return name in LOCAL and origin in (None, f"http://{host}")
        except ValueError:
            return False

    def _body(self) -> bytes | None:
        """The content that was sent; None: it is not taken, which was said."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._json(411, {"error": "the size of the image is missing"})
        elif len(length) > 12 or int(length) > LARGEST:
            self._json(413, {"error": f"the image has more than {LARGEST // 2**20} MiB; make it smaller"})
        elif len(body := self.rfile.read(int(length))) < int(length):
            self._json(400, {"error": "the image was cut off"})
        else:
            return body
        return None

    def _json(self, status: int, content: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content, allow_nan=False).encode())

    def _send(self, status: int, kind: str, content: bytes, nonce: str = "") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": POLICY.format(nonce=nonce),
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        """Without the versions of Python and its library."""
        return "minorkey"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address with its token stays out of logs."""


def whole_number(query: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A number of a query.

    Raises:
        ConfigError: it is missing, none, or out of range.
    """
    text = query.get(name, "")
    if text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise ConfigError(f"{name} is '{text}'; expected a whole number from {least} to {most}")
