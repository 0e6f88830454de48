"""A server on real sockets in a thread of the tests' process, with workers that are told what to do (`fake_worker`)."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from regard.app.server import start
from regard.app.server.options import ServerOptions
from regard.jobs.pool import pool

FAKE = (str(Path(__file__).with_name("fake_worker.py")),)


@contextmanager
def served(worker: tuple[str, ...] = FAKE, **options: Any) -> Iterator["Client"]:
    """A server that has started; it is stopped at the end of the block, and whatever went wrong is raised."""
    options = {"models": (("first", ""), ("second", ""), ("words", "words")), "port": 0, **options}
    ready = threading.Event()
    state: dict[str, Any] = {}

    def announce(address: str, stop: Any) -> None:
        state.update(address=address, stop=stop)
        ready.set()

    def run() -> None:
        try:
            state["counts"] = start.serve(ServerOptions(**options), announce)
        except BaseException as error:
            state["error"] = error
        ready.set()

    before = pool.WORKER
    pool.WORKER = worker
    thread = threading.Thread(target=run)
    try:
        thread.start()
        assert ready.wait(60)
        if "error" in state:
            raise state["error"]
        yield Client(state["address"])
    finally:
        if "stop" in state:
            state["stop"]()
        thread.join(30)
        pool.WORKER = before
    assert not thread.is_alive()
    if "error" in state:
        raise state["error"]


class Client:
    """One request a connection, as plain as can be."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.address = address
        self.host = parts.hostname or ""
        self.port = parts.port or 0
        self.token = parts.query.removeprefix("token=")

    def connection(self, timeout: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> "Answer":
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def job(
        self, picture: bytes, kind: str = "explain", name: str = "a.jpg", headers: Any = None, **fields: Any
    ) -> "Answer":
        content_type, body = form(picture, name, **fields)
        return self.ask("POST", f"/api/{kind}", body, **{"content_type": content_type, **(headers or {})})


class Answer:
    """Status, headers in lower case, and the body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


def form(picture: bytes, name: str = "a.jpg", part: str = "picture", **fields: Any) -> tuple[str, bytes]:
    """(content type, body) of a form with a file."""
    lines = [b'--edge\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (key.encode(), str(value).encode())
             for key, value in fields.items()]  # fmt: skip
    head = f'--edge\r\ncontent-disposition: form-data; name="{part}"; filename="{name}"\r\n\r\n'.encode()
    return "multipart/form-data; boundary=edge", b"".join([*lines, head, picture, b"\r\n--edge--\r\n"])
