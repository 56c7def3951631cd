"""Where a webhook may lead: to public addresses, and to networks that were named.

Whoever registers a URL makes this machine ask it, from inside its own network. So a
name is looked up once for each message, each address is judged, and the connection goes
to an address that was judged, not to the name again.

Source: OWASP, "Server-Side Request Forgery Prevention".
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self
from urllib.parse import urlsplit

_LONGEST = 2_048
# IPv4 addresses behind a translator (RFC 6052, RFC 8215).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
# Not public either (RFC 6890, RFC 9637), which not every Python knows; one cloud's
# secrets of a machine are at 192.0.0.192.
_CLOSED = (IPv4Network("192.0.0.0/24"), IPv6Network("3fff::/20"))

Address = IPv4Address | IPv6Address


class Refused(Exception):
    """A webhook may not lead there; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL.

    Attributes:
        tls: Whether it is https.
        host: The name or the address, without brackets.
        port: 1 to 65535.
        path: With the query, from the slash on.
    """

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Take a URL apart.

        Raises:
            Refused: It is none that a message could be sent to.
        """
        if len(url) > _LONGEST or not url.isascii() or not url.isprintable():
            raise Refused(
                f"is longer than {_LONGEST} characters, or not of printable ASCII"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise Refused(f"is no URL: {error}") from error
        if parts.scheme not in {"https", "http"} or not parts.hostname or " " in url:
            raise Refused("is no URL such as https://clinic.example/readings")
        if parts.username is not None or parts.fragment:
            raise Refused("holds a user's name or a fragment, which are not sent")
        if port == 0:
            raise Refused("names port 0")
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(tls, parts.hostname, port or (443 if tls else 80), path)

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Targets:
    """Judges where a webhook may lead.

    Args:
        networks: Of addresses that are not public, and may be told nevertheless.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ip_network(network) for network in networks]

    def check(self, url: str) -> Target:
        """Return a URL's parts, if its words alone do not rule it out.

        Raises:
            Refused: They do.
        """
        target = Target.of(url)
        try:
            address = ip_address(target.host)
        except ValueError:
            if not target.tls and target.host != "localhost":
                raise Refused("has to be https: it leads off this machine") from None
        else:
            self._judge(target, address)
        return target

    async def find(self, target: Target) -> list[Address]:
        """Look a target's host up; return those of its addresses that may be told.

        Raises:
            Refused: None of them may, or there is none now.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                target.host, target.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise Refused(f"cannot be looked up: {error.strerror}") from error
        addresses = dict.fromkeys(ip_address(str(one[4][0])) for one in found)
        allowed, problem = [], Refused("leads to no address")
        for address in addresses:
            try:
                allowed.append(self._judge(target, address))
            except Refused as refused:
                problem = refused
        if not allowed:
            raise problem
        return allowed

    def _judge(self, target: Target, address: Address) -> Address:
        if not target.tls and not address.is_loopback:
            raise Refused("has to be https: it leads off this machine")
        if not _is_public(address) and not any(
            address in network for network in self._networks
        ):
            raise Refused(
                f"leads to {address}, which is not public: name its network in "
                "webhooks.networks to allow it"
            )
        return address


def _is_public(address: Address) -> bool:
    if any(address in network for network in _CLOSED):
        return False
    if isinstance(address, IPv6Address):
        if any(address in network for network in _TRANSLATED):
            return _is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        within = address.ipv4_mapped or address.sixtofour
        if within is not None:
            return _is_public(within)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
