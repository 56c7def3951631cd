"""The embedded broker: there when wanted, gone when not."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.broker import Broker, BrokerError, accepts_clients
from tests.gateway.stations import eventually


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_takes_clients_as_long_as_it_is_wanted(broker: Broker) -> None:
    assert accepts_clients("127.0.0.1", broker.port)

    broker.stop()

    assert not accepts_clients("127.0.0.1", broker.port)
    assert not alive(broker.pid)


def test_comes_back_from_a_kill_with_its_folder_wiped(
    broker: Broker, tmp_path: Path
) -> None:
    """On the same port, or no station would find it again."""
    pid, port = broker.pid, broker.port
    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(tmp_path / "broker" / "jetstream", ignore_errors=True)

    assert eventually(lambda: broker.pid != pid and accepts_clients("127.0.0.1", port))


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(BrokerError, match=f"port {port} .*--mqtt-port"):
            Broker(tmp_path, "127.0.0.1", port).start()


def test_listens_on_loopback_only(broker: Broker) -> None:
    """Every listener of its process, the one of NATS's own protocol included."""
    inodes = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for link in Path(f"/proc/{broker.pid}/fd").iterdir()
        if "socket:" in str(link.readlink())
    }
    listening = [
        row.split()[1]
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{broker.pid}/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == "0A" and row.split()[9] in inodes
    ]

    assert len(listening) >= 2
    assert {address.partition(":")[0] for address in listening} == {"0100007F"}


_PARENT = """
import sys, time
from pathlib import Path
from gateway.broker import Broker
broker = Broker(Path(sys.argv[1]), "127.0.0.1", 0)
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


def test_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Else each crash of a gateway would leave a broker that holds its port."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert eventually(lambda: not alive(pid))
