"""The page's files, and the policy under which a browser runs them."""

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Self

_PLOTLY = Path("package_data", "plotly.min.js")


@dataclass(frozen=True)
class Page:
    """The one page of the gateway.

    Attributes:
        html: All of it, script and style included.
        policy: The Content-Security-Policy: this script, this style, this host.
        plotly: The file of plotly's own script, from the installed package.
    """

    html: str
    policy: str
    plotly: Path

    @classmethod
    def load(cls) -> Self:
        """Read the page from the package."""
        html = files("gateway").joinpath("page.html").read_text(encoding="utf-8")
        spec = find_spec("plotly")
        origin = "" if spec is None or spec.origin is None else spec.origin
        return cls(html, _policy(html), Path(origin).parent / _PLOTLY)


def _policy(html: str) -> str:
    script, style = (_hashes(html, tag) for tag in ("script", "style"))
    parts = (
        "default-src 'none'",
        f"script-src 'self' {script}",
        # Plotly writes its own style elements; nothing else of a style gets in,
        # for the page makes no markup out of text.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(part for part in parts if style)


def _hashes(html: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (b64encode(sha256(text.encode()).digest()) for text in found)
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
