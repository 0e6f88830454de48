"""HTTP as uvicorn speaks it, with deadlines that only a protocol can keep: middleware sees no unfinished header.

uvicorn's own timeout is for what comes between two requests, and starts anew with every byte; behind an answer it goes
on to read a body without end. Here a request has a time for its headers and one for its body, whatever trickles in, a
refused body is read for two seconds more (a connection that is closed on unread bytes loses the answer on its way) and
then cut off, and an answer that nobody takes is given up.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = {"headers": 10.0, "body": 60.0, "rest": 2.0, "answer": 60.0}
"""How long each part of a request may take: its headers, its body, what comes of it behind a refusal, and how long an
answer waits for a client that does not read."""
CONNECTIONS = 512
"""Connections at once; more are refused before they cost anything."""

LATE = b"the request took too long to arrive; headers have 10 seconds, a body has 60; send it again"
FULL = b"there are too many connections at once; the limit is 512; come again in 5 seconds"


class Protocol(H11Protocol):
    """One connection."""

    part = ""
    """What the timer is for."""
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._end(b"429 Too Many Requests", FULL)
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._time("")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._time("answer")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._time("")
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(SECONDS["rest"], self.transport.abort)  # where its last answer is not taken

    def _watch(self) -> None:
        """Set the timer for the part of a request that is awaited now; while it is the same part, the timer goes on."""
        if self.transport.is_closing() or self.part == "answer":
            return
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._time("rest" if self.cycle.response_complete else "body")
        else:
            self._time("headers" if state is h11.IDLE and self.timeout_keep_alive_task is None else "")

    def _time(self, part: str) -> None:
        if part == self.part:
            return
        if self.timer is not None:
            self.timer.cancel()
        self.part = part
        self.timer = self.loop.call_later(SECONDS[part], self._expire) if part else None

    def _expire(self) -> None:
        started = self.cycle is not None and self.cycle.response_started
        if self.part == "headers" or (self.part == "body" and not started):
            self._end(b"408 Request Timeout", LATE)
        else:
            self.transport.abort()

    def _end(self, status: bytes, message: bytes) -> None:
        """Answer without a request, and close."""
        if not self.transport.is_closing():
            text = b'{"error": "%s"}' % message
            head = b"content-type: application/json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: %d" % len(
                text
            )
            self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, head, text))
            self.transport.close()
            self.loop.call_later(SECONDS["rest"], self.transport.abort)
