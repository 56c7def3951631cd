"""Stands before every request: which host was asked for, and what a browser may do.

A page anywhere can make a browser ask this machine under a name of its own (DNS
rebinding). Where no token is asked for, only our own names are served.
"""

from collections.abc import Collection

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

        if self._names is None or _name(Headers(scope=scope)) in self._names:
            asked = dict(scope, method="GET") if head else scope
            await self._app(asked, receive, send_guarded)
        else:
            refused = problem(421, "this host name is not served here")
            await refused(scope, receive, send_guarded)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _name(headers: Headers) -> str:
    """Return the host that was asked for, without its port."""
    host = headers.get("host", "")
    name, _, port = host.rpartition(":")
    return name.lower() if name and port.isdigit() else host.lower()
