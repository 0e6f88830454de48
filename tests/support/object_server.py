"""A small real server of objects over HTTP, S3's way of conditional writes included, that can misbehave as asked."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Objects:
    """What the server has, by path; `fault(method, path, number)` is asked with the number of the request of this
    method and path, from 0, and gives what goes wrong: a status, "truncate", "drop" (the work is done and no answer
    given), a number of seconds to wait, or None. `requests` are all (method, path, range) that came."""

    content: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.0
    fault: Callable[[str, str, int], int | float | str | None] = lambda method, path, number: None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""
    done: threading.Event = field(default_factory=threading.Event)


def tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


@contextmanager
def object_server(objects: Objects) -> Iterator[Objects]:
    """The server while the block runs; its `address` is http://127.0.0.1:PORT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *arguments: object) -> None:
            pass

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            number = sum((method, at) == (self.command, path) for method, at, _ in objects.requests)
            objects.requests.append((self.command, path, self.headers.get("Range")))
            fault = objects.fault(self.command, path, number)
            objects.done.wait(objects.latency + (fault if isinstance(fault, float) else 0.0))
            if isinstance(fault, int):
                self._answer(fault, b"<Error>no</Error>")
            elif self.command == "PUT":
                self._put(path, body, fault)
            elif path not in objects.content:
                self._answer(404, b"")
            else:
                self._get(objects.content[path], fault)

        def _put(self, path: str, body: bytes, fault: object) -> None:
            if self.headers.get("If-None-Match") == "*" and path in objects.content:
                self._answer(412, b"<Error>PreconditionFailed</Error>")
                return
            objects.content[path] = body
            if fault == "drop":
                self.close_connection = True
                self.connection.close()
                return
            self._answer(200, b"", {"ETag": tag(body)})

        def _get(self, content: bytes, fault: object) -> None:
            headers = {"ETag": tag(content), "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "Accept-Ranges": "bytes"}
            wanted = self.headers.get("Range")
            if wanted is None:
                self._answer(200, content, headers, fault == "truncate")
                return
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first)
            stop = min(int(last) + 1 if last else len(content), len(content))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            self._answer(206, content[start:stop], headers, fault == "truncate")

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        do_GET = do_HEAD = do_PUT = _serve  # noqa: N815 - names that the class of the standard library asks for

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # who asks may go away

    server = Server(("127.0.0.1", 0), Handler)
    objects.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield objects
    finally:
        objects.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
