"""The ``gateway`` command."""

import asyncio
import json
from pathlib import Path

import click

from gateway.access_cli import access, audit
from gateway.archive_cli import archive
from gateway.backup_cli import backup, restore
from gateway.config import load
from gateway.doctor_cli import doctor
from gateway.export_cli import export
from gateway.opened import configured
from gateway.quarantine_cli import quarantine
from gateway.webhooks_cli import webhooks
from protocols.config import ConfigError


@click.group()
def gateway() -> None:
    """Take readings in from stations, keep them, and serve them."""


@gateway.command()
@configured
@click.option("--http-port", type=click.IntRange(0, 65_535), help="0 chooses one.")
@click.option("--mqtt-port", type=click.IntRange(0, 65_535), help="0 chooses one.")
@click.option("--json", "as_json", is_flag=True, help="Say all as JSON, logs too.")
def serve(
    file: Path | None,
    data: Path | None,
    http_port: int | None,
    mqtt_port: int | None,
    *,
    as_json: bool,
) -> None:
    """Run the gateway until it is interrupted.

    Without settings it brings its own broker, keeps everything in one folder of
    the user's, and listens on this machine only.

    \b
    Example:
        vitalwire gateway serve --data ./clinic --http-port 8080
    """
    # The web stack is slow to import; no other command should wait for it.
    from gateway import app, logs  # noqa: PLC0415
    from gateway.broker import BrokerError  # noqa: PLC0415
    from gateway.store import StoreUnusable  # noqa: PLC0415

    def ready(found: app.Addresses) -> None:
        told = {
            "http": found.http,
            "mqtt_host": found.mqtt_host,
            "mqtt_port": found.mqtt_port,
        }
        mqtt = f"  MQTT {found.mqtt_host}:{found.mqtt_port}" if found.mqtt_port else ""
        line = f"ready: page {found.http}{mqtt}"
        click.echo(json.dumps(told) if as_json else line)

    logs.start(as_json=as_json)
    try:
        config = load(file, data, http_port=http_port, mqtt_port=mqtt_port)
        asyncio.run(app.serve(config, ready))
    except (ConfigError, app.CannotRun, BrokerError, StoreUnusable) as error:
        raise click.ClickException(str(error)) from error


for _command in (
    access, archive, audit, backup, doctor, export, quarantine, restore, webhooks,
):  # fmt: skip
    gateway.add_command(_command)
