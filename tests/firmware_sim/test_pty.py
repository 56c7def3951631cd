"""The pseudo-terminal, through pyserial as an agent uses it."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import serial

from firmware_sim.bench import SerialBench
from firmware_sim.devices.onetouch_ultraeasy import UltraEasy
from firmware_sim.pty import Port, plugged

_T = TypeVar("_T")

_DISCONNECT = bytes.fromhex("02 06 08 03 c2 62")
_DISCONNECTED = bytes.fromhex("02 06 0c 03 06 ae")
_TIMEOUT_S = 5.0
_SILENCE_S = 0.1


class _Echo:
    """Says back what it hears."""

    def __init__(self, baud: int) -> None:
        self.baud = baud

    def feed(self, data: bytes) -> Iterable[bytes]:
        return [data]


class _Simulator:
    """A device on a pseudo-terminal, in a thread with a loop of its own."""

    def __init__(self, path: Path, bench: SerialBench) -> None:
        self.path = path
        self.failures: list[dict[str, object]] = []
        self._bench = bench
        self.port: Future[Port] = Future()
        self._stop: Future[Callable[[], None]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()

    def call(self, act: Callable[[Port], _T]) -> _T:
        """Act on the port within its loop."""
        port = self.port.result(_TIMEOUT_S)

        async def acting() -> _T:
            return act(port)

        return asyncio.run_coroutine_threadsafe(acting(), self._loop).result(_TIMEOUT_S)

    def stop(self) -> None:
        self._stop.result(_TIMEOUT_S)()
        self._thread.join(_TIMEOUT_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, what: self.failures.append(what))
        stop = asyncio.Event()
        self._stop.set_result(lambda: self._loop.call_soon_threadsafe(stop.set))
        async with plugged(self._bench, self.path) as port:
            self.port.set_result(port)
            await stop.wait()


@contextmanager
def _simulator(folder: Path, bench: SerialBench | None = None) -> Iterator[_Simulator]:
    simulator = _Simulator(folder / "meter", bench or UltraEasy())
    simulator.port.result(_TIMEOUT_S)
    try:
        yield simulator
    finally:
        simulator.stop()
    assert simulator.failures == []


def _open(path: Path, baud: int = 9600) -> serial.Serial:
    return serial.Serial(str(path), baud, timeout=_TIMEOUT_S, exclusive=True)


def test_a_host_and_the_meter_hear_each_other(tmp_path: Path) -> None:
    with _simulator(tmp_path) as simulator, _open(simulator.path) as host:
        host.write(_DISCONNECT)

        assert host.read(len(_DISCONNECTED)) == _DISCONNECTED


def test_every_byte_value_passes_both_ways(tmp_path: Path) -> None:
    """Raw: no echo of the line's own, no line ends, no control characters."""
    every = bytes(range(256))
    with (
        _simulator(tmp_path, _Echo(115200)) as simulator,
        _open(simulator.path, 115200) as host,
    ):
        host.write(every)

        assert host.read(256) == every
        host.timeout = _SILENCE_S
        assert host.read(1) == b""


def test_at_another_speed_the_host_hears_noise(tmp_path: Path) -> None:
    with _simulator(tmp_path) as simulator, _open(simulator.path, 19200) as host:
        host.write(_DISCONNECT)
        noise = host.read(len(_DISCONNECT))
        host.baudrate = 9600
        host.write(_DISCONNECT)

        assert noise == bytes.fromhex("81 83 84 81 e1 b1")
        assert host.read(len(_DISCONNECTED)) == _DISCONNECTED, "and then it does not"


def test_a_host_may_come_back(tmp_path: Path) -> None:
    with _simulator(tmp_path) as simulator:
        for _ in range(2):
            with _open(simulator.path) as host:
                host.write(_DISCONNECT)
                assert host.read(len(_DISCONNECTED)) == _DISCONNECTED


def test_pulling_the_plug_is_an_error_to_the_host(tmp_path: Path) -> None:
    with _simulator(tmp_path) as simulator, _open(simulator.path) as host:
        simulator.call(Port.unplug)

        with pytest.raises(serial.SerialException):
            host.read(1)
        assert not simulator.path.is_symlink()
        with pytest.raises(serial.SerialException):
            _open(simulator.path)


def test_it_can_be_plugged_in_again_at_the_same_place(tmp_path: Path) -> None:
    with _simulator(tmp_path) as simulator:
        for act in (Port.unplug, Port.unplug, Port.plug, Port.plug):
            simulator.call(act)
        with _open(simulator.path) as host:
            host.write(_DISCONNECT)
            assert host.read(len(_DISCONNECTED)) == _DISCONNECTED


def test_a_host_that_sets_nothing_up_finds_a_raw_line(tmp_path: Path) -> None:
    """Whatever opens it: a program need not be pyserial."""
    with _simulator(tmp_path, _Echo(38400)) as simulator:
        host = os.open(simulator.path, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(host, b"\x03\r\x04")
            heard = b""
            while len(heard) < 3:
                heard += os.read(host, 3)
        finally:
            os.close(host)

    assert heard == b"\x03\r\x04"


def test_what_the_host_does_not_read_is_lost_and_blocks_nobody(tmp_path: Path) -> None:
    """A full buffer must not stop the other devices of the simulator."""
    with (
        _simulator(tmp_path, _Echo(9600)) as simulator,
        _open(simulator.path) as host,
    ):
        for _ in range(200):
            host.write(bytes(2000))
        assert simulator.call(lambda port: port.path) == simulator.path
        host.reset_input_buffer()


def test_a_link_that_a_killed_simulator_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "meter").symlink_to("/nowhere")
    with _simulator(tmp_path) as simulator, _open(simulator.path) as host:
        host.write(_DISCONNECT)
        assert host.read(len(_DISCONNECTED)) == _DISCONNECTED


def test_a_file_in_its_place_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "meter"
    path.write_text("precious")

    async def plug() -> None:
        async with plugged(UltraEasy(), path):
            pass

    with pytest.raises(FileExistsError):
        asyncio.run(plug())
    assert path.read_text() == "precious"


def _open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = _open_files()
    with _simulator(tmp_path):
        pass

    assert list(tmp_path.iterdir()) == []
    assert _open_files() == before
