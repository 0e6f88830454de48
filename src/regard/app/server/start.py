"""Starting and stopping: the socket first, then the workers, then HTTP; and the other way round."""

import asyncio
import errno
import ipaddress
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from regard.app.server.api import Site, application
from regard.app.server.options import ServerOptions
from regard.app.server.protocol import Protocol
from regard.app.server.security import Guard
from regard.errors import OutputError, UsageError
from regard.jobs.pool.pool import Pool
from regard.jobs.pool.runs import ServedRun

log = logging.getLogger("regard")

LOCAL = ("localhost", "127.0.0.1", "::1")
Announce = Callable[[str, Callable[[], None]], None]
"""Gets the address when the server is ready, and a function that stops it."""
STOPPING = 5.0
"""Seconds that running jobs have to come to their end when the server is stopped."""


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `OutputError` for a port that is taken, and `UsageError` for a host that is none of
    this machine's."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OutputError(
                f"port {port} of {host} is in use already; give another, --port {port + 1}, or --port 0 for any "
                "that is free"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise OutputError(
                f"port {port} may not be used by you; give one from 1024 on, such as --port 8000"
            ) from error
        raise UsageError(
            f"{host} is no address of this machine ({error.strerror}); --host takes 127.0.0.1, for this machine alone, "
            "0.0.0.0, for all that reach it, or one of its own"
        ) from error


class _Server(uvicorn.Server):
    """Ends in peace at a Ctrl-C: jobs that run have some seconds, those that wait are refused."""

    def __init__(self, config: uvicorn.Config, pool: Pool) -> None:
        super().__init__(config)
        self.pool = pool

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # for a server this is how it ends, and nothing else has to end with it

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.pool.refuse(STOPPING)
        await super().shutdown(sockets)


async def _run(options: ServerOptions, listener: socket.socket, announce: Announce) -> dict[str, Any]:
    threads = max(1, (os.cpu_count() or 1) // len(options.devices))
    plan = {"models": options.models, "max_pixels": options.max_pixels, "deadline": options.deadline}
    plans = [{**plan, "device": device, "threads": threads if device == "cpu" else 0} for device in options.devices]
    pool = Pool(plans, options.waiting, options.deadline)
    runs = {name: ServedRun(name, Path(folder), options.data) for name, folder in options.runs}
    local = is_local(options.host)
    token = options.token if local else options.token or secrets.token_urlsafe(24)
    port = int(listener.getsockname()[1])
    any_address = options.host in ("0.0.0.0", "::")
    names = [socket.gethostname(), socket.getfqdn()] if not local else []
    hosts = [*LOCAL, *([] if any_address else [options.host]), *names, *options.names]
    site = Site(options, pool, runs)
    app = Guard(application(site), hosts, any_address, token, port)
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=15, timeout_graceful_shutdown=int(STOPPING) + 2,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(config, pool)
    try:
        for note in await pool.start():
            log.info(note)
        name = options.host if not any_address else socket.gethostname()
        name = f"[{name}]" if ":" in name else name
        address = f"http://{name}:{port}/{f'?token={token}' if token else ''}"
        announce(address, lambda: setattr(server, "should_exit", True))
        await server.serve([listener])
    finally:
        await pool.close()
    return {"requests": server.server_state.total_requests, "jobs": sum(slot.jobs for slot in pool.slots),
            "restarts": sum(slot.restarts for slot in pool.slots)}  # fmt: skip


def serve(options: ServerOptions, announce: Announce) -> Mapping[str, Any]:
    """Serve until a Ctrl-C (or SIGTERM), and say how much was done; `announce` is called once it is ready.

    Raises `OutputError` for a port that is taken, and `NetworkError` for a model that cannot be loaded.
    """
    listener = bound(options.host, options.port)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None  # also while workers start
    try:
        with asyncio.Runner() as runner:
            return runner.run(_run(options, listener, announce))
    finally:
        listener.close()
        if main:
            signal.signal(signal.SIGTERM, before)
