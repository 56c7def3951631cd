"""What is deployed fits what there is: keys, paths, metrics. No container is run."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from gateway import api
from gateway.access import Access
from gateway.census import Census
from gateway.config import check, load
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.registry import Registry
from gateway.store.sqlite import SqliteStore
from protocols.uplink.topics import Station
from tests.gateway.conftest import _MOSQUITTO, Mosquitto
from tests.gateway.stations import eventually

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"
_YAML = sorted(_DEPLOY.rglob("*.yaml"))
_TOML = sorted(_DEPLOY.rglob("*.toml"))
_UNITS = sorted((_DEPLOY / "systemd").iterdir())
_PATH = re.compile(r"path: (/\w+)|127\.0\.0\.1:8080(/\w+)|metrics_path: (/\w+)")


def documents(path: Path) -> list[Any]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def manifests(*folders: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for path in sorted((_DEPLOY / "kustomize" / folder).glob("*.yaml")):
            yield from documents(path)


def shown(store: SqliteStore, folder: Path) -> set[str]:
    """Return the names of all that ``/metrics`` shows, as queries name them."""
    metrics = Metrics()
    metrics.registry.register(Census(store.database, folder))
    found: set[str] = set()
    for family in metrics.registry.collect():
        found |= {sample.name for sample in family.samples}
        # Without any observation a labelled one has no samples.
        name = family.name + ("_total" if family.type == "counter" else "")
        found.add(name)
        if family.type == "histogram":
            found |= {f"{name}_{part}" for part in ("bucket", "count", "sum")}
    return found


@pytest.mark.parametrize("path", _YAML, ids=lambda path: path.name)
def test_every_yaml_can_be_read(path: Path) -> None:
    assert documents(path)


@pytest.mark.parametrize("path", _TOML, ids=lambda path: str(path.parent.name))
def test_every_setting_is_one_that_a_gateway_takes(path: Path) -> None:
    """A key that was renamed would keep all gateways of a city from starting."""
    check(load(path))


def test_every_metric_that_is_drawn_or_alarmed_on_exists(
    store: SqliteStore, tmp_path: Path
) -> None:
    """An alert on a metric that is no more never fires."""
    names = shown(store, tmp_path)
    boards = list((_DEPLOY / "grafana").glob("*.json"))
    queries = [
        target["expr"]
        for board in boards
        for panel in json.loads(board.read_text())["panels"]
        for target in panel["targets"]
    ]
    (rules,) = documents(_DEPLOY / "prometheus" / "vitalwire.rules.yaml")
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    queries += [alert["expr"] for alert in alerts]

    used = {name for query in queries for name in re.findall(r"\bvitalwire_\w+", query)}
    assert used
    assert used - names == set()
    for query in queries:
        assert query.count("(") == query.count(")"), query
        assert query.count("{") == query.count("}"), query


def test_every_metric_of_ours_is_drawn(store: SqliteStore, tmp_path: Path) -> None:
    """What nobody looks at need not be counted."""
    text = "".join(path.read_text() for path in (_DEPLOY / "grafana").glob("*.json"))
    metrics = Metrics()
    metrics.registry.register(Census(store.database, tmp_path))
    for family in metrics.registry.collect():
        if family.name.startswith("vitalwire_"):
            assert family.name in text, family.name


def test_every_alert_says_what_to_do() -> None:
    """Whoever is woken reads the page under the alert's name."""
    page = (_ROOT / "docs" / "how-to" / "watch-a-gateway.md").read_text()
    (rules,) = documents(_DEPLOY / "prometheus" / "vitalwire.rules.yaml")
    for rule in rules["groups"][0]["rules"]:
        assert f"| `{rule['alert']}` |" in page
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_probe_asks_for_what_is_served(store: SqliteStore) -> None:
    """A probe of a path that is not there would kill every gateway that runs."""
    access = Access(store.database, open_local=True)
    app = api.build(
        api.Parts(store, None, Live(), Metrics(), access, Registry(store.database))
    )
    served = set(app.openapi()["paths"])
    texts = [*_DEPLOY.rglob("*.yaml"), _DEPLOY / "container" / "Containerfile"]
    asked = {
        next(filter(None, match))
        for path in texts
        for match in _PATH.findall(path.read_text())
    }
    assert {"/healthz", "/readyz"} <= asked
    paths = {one for one in asked if not one.startswith(("/spec", "/run"))}
    assert paths - served == set()


def test_pods_may_do_little_and_keep_no_secret_here() -> None:
    """Secrets are named, never held; a gateway needs no right of the machine's."""
    (pods,) = [one for one in manifests("base") if one["kind"] == "Deployment"]
    spec = pods["spec"]["template"]["spec"]
    (gateway,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert gateway["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= gateway["resources"].keys()
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= gateway.keys()
    named = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in gateway["volumeMounts"]} == named
    kinds = {one["kind"] for one in manifests("base", "clinic", "city")}
    assert "Secret" not in kinds
    assert {"PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler"} <= kinds


def of_unit(unit: Path) -> list[str]:
    """Return the words of the command that a unit of systemd runs."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    words = shlex.split(line.replace("%%", "%").replace("$$", "$"))
    if words[:2] == ["/bin/sh", "-c"]:
        (script,) = words[2:]
        execute, *words = shlex.split(script)
        assert execute == "exec"
    return words


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return which command of the program it is, and its options.

    Raises:
        click.UsageError: The program takes no such command.
    """
    path, *words = words
    (program,) = entry_points(group="console_scripts", name=Path(path).name)
    command: click.Command = program.load()
    names = []
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(click.Context(command), words)
        assert found is not None
        command, names = found, [*names, name]
    return " ".join(names), command.make_context(names[-1], [*words]).params


def test_what_is_deployed_is_a_command_that_the_program_takes() -> None:
    """It would end at once, and be started again for ever; no backup would be made."""
    image = (_DEPLOY / "container" / "Containerfile").read_text()
    said = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", image, re.MULTILINE))
    entry, default = json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"])
    (pods,) = [one for one in manifests("base") if one["kind"] == "Deployment"]
    (container,) = pods["spec"]["template"]["spec"]["containers"]
    assert "command" not in container, "it would stand for the image's own"
    services = [unit for unit in _UNITS if unit.suffix == ".service"]
    commands = [*map(of_unit, services), entry + default, entry + container["args"]]

    found = [parsed(words) for words in commands]

    file = Path("/etc/vitalwire/gateway.toml")
    kept = Path("/var/lib/private/vitalwire-gateway")
    serve = {"file": file, "http_port": None, "mqtt_port": None, "as_json": True}
    station = Path("${CREDENTIALS_DIRECTORY}/vitalwire.toml")
    assert found == [
        ("agent run", {"path": station, "data": Path("${STATE_DIRECTORY}")}),
        (
            "gateway backup",
            {
                "file": file,
                "data": kept,
                "passphrase_file": Path("$CREDENTIALS_DIRECTORY/backup-passphrase"),
                "to": Path("/var/backups/vitalwire/$(date -u +%Y-%m-%dT%H%M%SZ).vw"),
                "as_json": False,
            },
        ),
        ("gateway serve", serve | {"data": Path("${STATE_DIRECTORY}")}),
        ("gateway serve", serve | {"data": Path("/data")}),
        ("gateway serve", serve | {"data": Path("/data/gateway")}),
    ]
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert {str(file.parent), "/data"} <= mounted
    agent, backup, gateway = [unit.read_text() for unit in services]
    assert f"StateDirectory={kept.name}\n" in gateway
    assert "LoadCredential=backup-passphrase:" in backup
    assert "LoadCredential=vitalwire.toml:" in agent


@pytest.mark.parametrize("overlay", ["clinic", "city"])
def test_each_overlay_renders(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(_DEPLOY / "kustomize" / overlay)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    labels = {"app.kubernetes.io/name": "vitalwire-gateway"}
    assert made["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert made["Service"]["spec"]["selector"] == labels
    assert made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert ("PodDisruptionBudget" in made) is (overlay == "city")
    settings = made["ConfigMap"]["metadata"]["name"]
    volumes = made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert settings in {one.get("configMap", {}).get("name") for one in volumes}


def test_units_are_ones_that_systemd_understands(tmp_path: Path) -> None:
    """A misspelt line of a unit is ignored, and so is what it should have forbidden."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    for unit in _UNITS:
        text = unit.read_text().replace("/opt/vitalwire/bin/vitalwire", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "vitalwire" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.integration
def test_the_brokers_rules_let_in_who_they_should(tmp_path: Path) -> None:
    """A station that could write as another could store readings under its name."""
    password = shutil.which("mosquitto_passwd")
    if _MOSQUITTO is None or password is None:
        pytest.skip("the Debian package mosquitto is not installed")
    users, broker = tmp_path / "users", Mosquitto(tmp_path)
    users.touch()
    for user in ("gateway", "clinic/station-1", "clinic/station-2"):
        subprocess.run([password, "-b", str(users), user, "secret"], check=True)
    shutil.copy(_DEPLOY / "compose" / "mosquitto.acl", tmp_path / "acl")
    broker._file.write_text(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous false\nuser root\n"
        f"password_file {users}\nacl_file {tmp_path / 'acl'}\n"
    )
    broker._process = subprocess.Popen(
        [_MOSQUITTO, "-c", str(broker._file)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    subscribed: list[object] = []
    heard: dict[str, list[bytes]] = {"gateway": [], "clinic/station-1": []}
    clients = {}
    try:
        for user in ("gateway", "clinic/station-1", "clinic/station-2"):
            client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
            client.username_pw_set(user, "secret")
            if user in heard:
                client.on_message = lambda _c, _d, came, user=user: heard[user].append(
                    came.payload
                )
            client.on_subscribe = lambda *more: subscribed.append(more)
            assert eventually(partial(reached, client, broker.port))
            client.loop_start()
            assert eventually(client.is_connected)
            clients[user] = client
        station = Station("clinic", "station-1")
        for user, topic in (
            ("gateway", "$share/gateways/vw/1/+/+/up/batch"),
            ("clinic/station-1", "vw/1/clinic/+/down/#"),
            ("clinic/station-1", station.down("receipt")),
        ):
            clients[user].subscribe(topic, 1)
        assert eventually(lambda: len(subscribed) == 3)
        for user, topic in (
            ("clinic/station-2", station.up("batch")),
            ("clinic/station-2", station.down("receipt")),
            ("gateway", "vw/1/clinic/station-2/down/receipt"),
        ):
            clients[user].publish(topic, b"forged or not theirs", 1).wait_for_publish(9)
        clients["clinic/station-1"].publish(station.up("batch"), b"own", 1)
        clients["gateway"].publish(station.down("receipt"), b"own", 1)
        assert eventually(lambda: all(b"own" in told for told in heard.values()))
    finally:
        for client in clients.values():
            client.disconnect()
            client.loop_stop()
        broker.kill()
    assert {user: {*told} for user, told in heard.items()} == {
        "gateway": {b"own"},
        "clinic/station-1": {b"own"},
    }


def reached(client: Client, port: int) -> bool:
    """Connect; return whether the broker was there yet."""
    try:
        client.connect("127.0.0.1", port)
    except OSError:
        return False
    return True
