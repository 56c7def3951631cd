"""Sends a message to an address that was judged; reads only the answer's head.

Nothing here looks a name up or follows a redirect, and cancelling it ends it at once.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import h11

from gateway.webhooks.target import Address, Target

_PIECE = 65_536
_MOST_DIGITS = 10
_CONNECT_S = 5.0


class Unreachable(Exception):
    """No answer came; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver answered.

    Attributes:
        status: Of HTTP.
        retry_after_s: When it wants to be asked again; None if it did not say.
    """

    status: int
    retry_after_s: int | None = None


async def post(
    target: Target,
    addresses: Sequence[Address],
    headers: Mapping[str, str],
    body: bytes,
) -> Answer:
    """Send ``body`` to the first of ``addresses`` that can be connected to.

    Args:
        target: What is asked there; its certificate has to be of this host.
        addresses: Where to connect, at least one.
        headers: Besides those of the connection.
        body: All of it.

    Raises:
        Unreachable: No answer came.
    """
    try:
        reader, writer = await _connect(target, addresses)
        try:
            return await _exchange(target, headers, body, reader, writer)
        finally:
            # Without a farewell, which the other end may never read.
            writer.transport.abort()
    except (OSError, h11.RemoteProtocolError) as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


async def _connect(
    target: Target, addresses: Sequence[Address]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    problem: OSError = OSError("no address")
    for address in addresses:
        try:
            async with asyncio.timeout(_CONNECT_S):
                return await asyncio.open_connection(
                    str(address),
                    target.port,
                    ssl=_trusted() if target.tls else None,
                    server_hostname=target.host if target.tls else None,
                )
        except OSError as error:  # a time-out is one too
            problem = error
    raise problem


async def _exchange(
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    said = {
        "Host": target.authority,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    request = h11.Request(method="POST", target=target.path, headers=[*said.items()])
    for event in (request, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    return await _answer(connection, reader)


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PIECE))
        elif isinstance(event, h11.Response):
            after = dict(event.headers).get(b"retry-after", b"")
            wait = after.isdigit() and len(after) < _MOST_DIGITS
            return Answer(event.status_code, int(after) if wait else None)


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()
