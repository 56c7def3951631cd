"""JSON answers that keep every digit, and say when nothing has changed.

Source: RFC 9110, §8.8.3 and §13.1.2, for entity tags.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from gateway.exact import encode


class Exact(Response):
    """JSON with all digits, and a strong entity tag made of its content.

    Who asks by GET and names the tag in If-None-Match is answered with 304.
    """

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200) -> None:
        super().__init__(content, status_code)
        self.headers["ETag"] = tag(self.body)

    def render(self, content: object) -> bytes:
        return encode(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET" and self.status_code == 200:
            named = Headers(scope=scope).get("if-none-match", "")
            if _names(named, self.headers["ETag"]):
                same = Response(status_code=304, headers={"ETag": self.headers["ETag"]})
                await same(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def tag(body: bytes | memoryview) -> str:
    """Return the strong entity tag of an answer's bytes."""
    return f'"{urlsafe_b64encode(sha256(body).digest()[:18]).decode()}"'


def _names(named: str, found: str) -> bool:
    """Whether If-None-Match names ``found``, weakly compared as the RFC says."""
    tags = (one.strip().removeprefix("W/") for one in named.split(","))
    return any(one in ("*", found) for one in tags)
