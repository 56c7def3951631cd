"""Stands before every request: which host was asked for, and what a browser may do.

A page anywhere can make a browser ask this machine under a name of its own (DNS
rebinding), and the API has no access control yet: only our own names are served.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import problem

_NAMES = {"localhost", "127.0.0.1", "[::1]"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuses requests for other hosts, and adds headers to every answer.

    Args:
        app: What to stand before.
        policy: The Content-Security-Policy.
        host: The address served, besides the names of this machine.
    """

    def __init__(self, app: ASGIApp, policy: str, host: str) -> None:
        self._app = app
        self._headers = _HEADERS | {"Content-Security-Policy": policy}
        self._names = _NAMES | {f"[{host}]" if ":" in host else host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        if _name(Headers(scope=scope).get("host", "")) in self._names:
            await self._app(scope, receive, send_guarded)
        else:
            refused = problem(421, "this host name is not served here")
            await refused(scope, receive, send_guarded)


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, _, port = host.rpartition(":")
    return name.lower() if name and port.isdigit() else host.lower()
