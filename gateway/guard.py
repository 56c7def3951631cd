"""Stands before every request: which host was asked for, and what a browser may do.

A page anywhere can make a browser ask this machine under a name of its own (DNS
rebinding). Where no token is asked for, only our own names are served. It can also send
a form or plain text to one of our names without seeing the answer; what a browser says
was asked by another site's page is refused, but for following a link to here.

Source: W3C, Fetch Metadata Request Headers; RFC 6454, §7, for Origin.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import problem

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuses requests for other hosts, adds headers, and answers HEAD as GET.

    Args:
        app: What to stand before.
        policy: The Content-Security-Policy.
        names: The hosts served besides the names of this machine, without a port;
            None serves every name, for an API that a browser's page can't ask
            without a token.
    """

    def __init__(
        self, app: ASGIApp, policy: str, names: Collection[str] | None
    ) -> None:
        self._app = app
        self._headers = _HEADERS | {"Content-Security-Policy": policy}
        self._names = (
            None
            if names is None
            else {*_LOOPBACK, *(_bracketed(name.lower()) for name in names)}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"

        async def send_guarded(message: Message) -> None:
            started = message["type"] == "http.response.start"
            if started:
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            if started or not head:
                await send(message)
            if started and head:
                # With its answer over, a stream learns that nobody reads on.
                await send({"type": "http.response.body"})

        headers = Headers(scope=scope)
        if self._names is not None and _name(headers) not in self._names:
            refused = problem(421, "this host name is not served here")
            await refused(scope, receive, send_guarded)
        elif _of_another_site(headers, scope["method"]):
            refused = problem(403, "a page of another site may only link to here")
            await refused(scope, receive, send_guarded)
        else:
            asked = dict(scope, method="GET") if head else scope
            await self._app(asked, receive, send_guarded)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _of_another_site(headers: Headers, method: str) -> bool:
    """Whether a browser asks for another site's page, and not because of a link."""
    reads = method in {"GET", "HEAD"}
    site = headers.get("sec-fetch-site")
    if site is None:
        # A browser from before 2023, or none: those name no site, but an origin.
        origin = headers.get("origin")
        own = origin is None or urlsplit(origin).netloc == headers.get("host")
        return not (reads or own)
    link = reads and headers.get("sec-fetch-mode") == "navigate"
    return site not in {"same-origin", "none"} and not link


def _name(headers: Headers) -> str:
    """Return the host that was asked for, without its port."""
    host = headers.get("host", "")
    name, _, port = host.rpartition(":")
    return name.lower() if name and port.isdigit() else host.lower()
