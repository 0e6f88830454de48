"""Who may ask: the Host and Origin of every request, the token, and what every answer forbids a browser.

Middleware in plain ASGI: it sees a request before anything of it is read, and leaves streams alone.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regard.app.server.answers import refusal
from regard.app.server.requests import printable

POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Of what is no page: pages have a policy of their own."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
OPEN = "/health"
"""What is answered without a token: whether the server lives, and nothing else."""

ENTER = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">
<title>regard</title><p><a href="/">Go on</a></p></html>"""
"""The page behind the token's address. It goes on by itself and not by a redirect, with which a cookie that is
SameSite=Strict does not travel where somebody clicked on the link elsewhere."""


class Guard:
    """Lets through what comes from this server's own pages, or from a program that has the token.

    `hosts` are the names that the server goes by; a page of another host whose name was pointed at this machine (DNS
    rebinding) has its own name in Host. With `any_address` the server listens on all of the machine's addresses, and a
    Host may be any address: those no name can be pointed at. Without a `token` there is none to be media_type.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], any_address: bool, token: str | None, port: int) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}
        self.any_address = any_address
        self.token = token
        self.cookie = f"regard-{port}"  # cookies of one host are shared by its ports
        self.secret = "" if token is None else hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", POLICY)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._answer(scope)
        await (self.app if answer is None else answer)(scope, receive, guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered in the place of the app; None for a request that goes on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_named(host):
            return refusal(
                421,
                f"this server is not called {printable(host) or 'nothing'}; it answers to "
                f"{', '.join(sorted(self.hosts))}; use one of these, or have it started with --name NAME",
            )
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        visit = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if (origin is not None and not _same(origin, host)) or (site in ("cross-site", "same-site") and not visit):
            return refusal(
                403,
                f"the request comes from a page of {printable(origin or 'another site')}; only this server's own "
                "pages and programs may ask; open the server's page itself",
            )
        if self.token is None or scope["path"] == OPEN:
            return None
        return self._identified(scope, headers)

    def _is_named(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in self.hosts:
                return True
            return self.any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _identified(self, scope: Scope, headers: Headers) -> Response | None:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(bearer.strip(), self.token or ""):
            return None
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        if self.cookie in cookies and _equal(cookies[self.cookie].value, self.secret):
            return None
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["method"] == "GET" and scope["path"] == "/" and offered and _equal(offered[0], self.token or ""):
            page = HTMLResponse(ENTER)
            page.set_cookie(self.cookie, self.secret, httponly=True, samesite="strict", path="/")
            return page
        what = "a wrong token" if offered or bearer or self.cookie in cookies else "no token"
        return refusal(
            401,
            f"the request has {what}; this server is open to a network and wants the one that it printed when it "
            "started; open that address, or send `Authorization: Bearer TOKEN`",
            headers={"www-authenticate": "Bearer"},
        )


def _same(origin: str, host: str) -> bool:
    """Whether a page's origin is the server that it asks."""
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
    except ValueError:
        return False


def _equal(left: str, right: str) -> bool:
    """Compared in a time that does not tell how much of it is right."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))
