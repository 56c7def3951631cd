"""A private D-Bus: its daemon, and the objects that one service shows on it.

bleak and dbus-fast find the system bus by ``DBUS_SYSTEM_BUS_ADDRESS``, so a
process that is started with the address of `private_bus` there talks to the
simulator and cannot tell.
"""

import asyncio
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

from dbus_fast import DBusError, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

Answer: TypeAlias = tuple[str, list[Any]]
Call: TypeAlias = Callable[[Message], Awaitable[Answer]]
Properties: TypeAlias = dict[str, Variant]

NOTHING: Answer = ("", [])

_PROPERTIES = "org.freedesktop.DBus.Properties"
_MANAGER = "org.freedesktop.DBus.ObjectManager"
_PEER = "org.freedesktop.DBus.Peer"
_LONGEST_SOCKET_PATH = 107  # sun_path, without the zero behind it
_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""


class NoBus(Exception):
    """There is no private D-Bus; the message says what the operator can do."""


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """Run a D-Bus daemon of our own; yield its address once it accepts.

    Args:
        folder: Where its configuration goes, and its socket if the path is
            short enough for one.

    Raises:
        NoBus: ``dbus-daemon`` is missing or does not start.
    """
    program = shutil.which("dbus-daemon")
    if program is None:
        raise NoBus("dbus-daemon is missing; install it with: apt install dbus")
    with tempfile.TemporaryDirectory(prefix="bus-") as short:
        config, socket = _configure(folder, Path(short))
        log = config.with_suffix(".log")
        with log.open("wb") as stderr:
            daemon = await asyncio.create_subprocess_exec(
                program,
                "--nofork",
                "--nopidfile",
                "--print-address=1",
                f"--config-file={config}",
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for us: we stop it last
            )
        try:
            if daemon.stdout is None or not await daemon.stdout.readline():
                raise NoBus(f"dbus-daemon does not start; see {log}")
            yield f"unix:path={socket}"
        finally:
            if daemon.returncode is None:
                daemon.terminate()
            await daemon.wait()


def _configure(folder: Path, short: Path) -> tuple[Path, Path]:
    """Write the daemon's configuration; return it and the socket it names."""
    socket = folder.absolute() / "bus"
    plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(socket))  # what needs no escaping
    if not plain or len(bytes(socket)) > _LONGEST_SOCKET_PATH:
        socket = short / "bus"
    socket.unlink(missing_ok=True)  # of a daemon that was killed
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(socket=socket))
    return config, socket


class Bus(MessageBus):
    """A connection to a bus whose daemon may be slower than we are.

    dbus-fast, 5.2 at least, takes a socket that is full for a connection that is
    lost: ``write_callback`` ends the bus on any error of ``send``, EAGAIN included,
    and every later message of the service is an error.
    """

    async def connect(self) -> Self:
        """Connect as dbus-fast does; from then on wait where the socket is full."""
        await super().connect()
        # Its own names, for it has no other way in; a test fails where they change.
        self._writer.sock = _PatientSocket(self._sock)  # type: ignore[union-attr,arg-type]
        return self


class _PatientSocket:
    """A socket that is full has taken nothing; dbus-fast waits to send the rest."""

    def __init__(self, socket: socket.socket) -> None:
        self._socket = socket

    def send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0


class Objects:
    """The objects of one service: their properties, their calls, their signals."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._properties: dict[str, dict[str, Properties]] = {}
        self._calls: dict[tuple[str, str, str], Call] = {}
        self._running: set[asyncio.Task[None]] = set()
        bus.add_message_handler(self._on_message)

    async def close(self) -> None:
        """Cancel the calls that are still being answered."""
        self._bus.remove_message_handler(self._on_message)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def add(
        self,
        path: str,
        interface: str,
        properties: Mapping[str, Variant],
        calls: Mapping[str, Call],
    ) -> None:
        """Show an interface at ``path``, or replace it without a signal."""
        for member, call in calls.items():
            self._calls[path, interface, member] = call
        interfaces = self._properties.setdefault(path, {})
        is_new = interface not in interfaces
        interfaces[interface] = dict(properties)
        if is_new:
            body = [path, {interface: interfaces[interface]}]
            self._emit("/", _MANAGER, "InterfacesAdded", "oa{sa{sv}}", body)

    def remove(self, path: str) -> None:
        """Take away ``path`` and everything below it, deepest first."""
        for each in sorted(self._properties, reverse=True):
            if each == path or each.startswith(f"{path}/"):
                interfaces = list(self._properties.pop(each))
                self._emit(
                    "/", _MANAGER, "InterfacesRemoved", "oas", [each, interfaces]
                )
        self._calls = {
            key: call for key, call in self._calls.items() if key[0] in self._properties
        }

    def below(self, path: str) -> list[str]:
        """Return the paths of all objects below ``path``."""
        return [each for each in self._properties if each.startswith(f"{path}/")]

    def value(self, path: str, interface: str, name: str) -> Any:  # noqa: ANN401
        """Return a property's value, None where there is none."""
        variant = self._properties.get(path, {}).get(interface, {}).get(name)
        return None if variant is None else variant.value

    def change(
        self, path: str, interface: str, changed: Mapping[str, Variant], *gone: str
    ) -> None:
        """Set some properties, delete those ``gone``, and say so.

        Nothing is said about an object that is no longer there.
        """
        if path not in self._properties:
            return
        properties = self._properties[path][interface]
        properties.update(changed)
        gone = tuple(name for name in gone if properties.pop(name, None) is not None)
        if changed or gone:
            body = [interface, changed, list(gone)]
            self._emit(path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def _emit(
        self, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> None:
        self._bus.send(Message.new_signal(path, interface, member, signature, body))

    def _on_message(self, message: Message) -> bool:
        is_call = message.message_type is MessageType.METHOD_CALL
        if not is_call or message.interface == _PEER:  # dbus-fast answers for itself
            return False
        task = asyncio.create_task(self._answer(message))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return True

    async def _answer(self, message: Message) -> None:
        reply = Message.new_error(message, "org.bluez.Error.Failed", "Broken simulator")
        try:
            signature, body = await self._call(message)
            reply = Message.new_method_return(message, signature, body)
        except DBusError as error:
            reply = Message.new_error(message, error.type, error.text)
        finally:
            if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
                self._bus.send(reply)

    async def _call(self, message: Message) -> Answer:
        path, member = message.path or "", message.member or ""
        if message.interface == _MANAGER and member == "GetManagedObjects":
            return "a{oa{sa{sv}}}", [self._properties]
        if path not in self._properties:
            raise DBusError(
                "org.freedesktop.DBus.Error.UnknownObject", f"No object at {path}"
            )
        if message.interface == _PROPERTIES:
            return self._access(path, member, message.body)
        call = self._calls.get((path, message.interface or "", member))
        if call is None:
            raise DBusError(
                "org.freedesktop.DBus.Error.UnknownMethod",
                f"{message.interface} has no {member} at {path}",
            )
        return await call(message)

    def _access(self, path: str, member: str, body: list[Any]) -> Answer:
        properties = self._properties[path].get(body[0])
        if properties is None:
            raise DBusError(
                "org.freedesktop.DBus.Error.UnknownInterface", f"No {body[0]}"
            )
        match member, body:
            case "GetAll", [_]:
                return "a{sv}", [properties]
            case "Get", [_, name] if name in properties:
                return "v", [properties[name]]
            case "Set", [interface, name, value] if name in properties:
                self.change(path, interface, {name: value})
                return NOTHING
        raise DBusError(
            "org.freedesktop.DBus.Error.UnknownProperty", f"No {member} of {body}"
        )
