"""A receiver of webhooks: a real HTTP server that answers as a test wants it to."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gateway.webhooks.courier import Courier


@dataclass
class Call:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in json.loads(self.body)["data"]["readings"]]


@dataclass
class Receiver:
    """What came, and how to answer."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] = lambda asked: status(asked, 204)
    ended: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    at_once: int = 0

    @property
    def ids(self) -> list[str]:
        return [number for call in self.calls for number in call.ids]


def status(asked: BaseHTTPRequestHandler, code: int, **headers: str) -> None:
    asked.send_response(code)
    for name, value in headers.items():
        asked.send_header(name.replace("_", "-"), value)
    asked.send_header("Content-Length", "0")
    asked.end_headers()


@contextmanager
def receiver(tls: SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver on this machine."""
    found, lock = Receiver(), threading.Lock()

    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                found.calls.append(Call(headers, body))
                found.at_once += 1
                found.most_at_once = max(found.most_at_once, found.at_once)
            try:
                found.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with lock:
                    found.at_once -= 1

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Asked)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    found.url = f"{scheme}://127.0.0.1:{server.server_port}/readings"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        found.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def deliver(courier: Courier) -> int:
    """Let a courier take what is due, once, and end it; return how many that were."""
    async with asyncio.TaskGroup() as work:
        return await courier.start(work)


def certify(folder: Path) -> Path:
    """Return a file with a key and a certificate of 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "receiver.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.public_bytes(Encoding.PEM)
    )
    return file
