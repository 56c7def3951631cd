"""Readings as CSV, Parquet and NDJSON: exact, safe in a spreadsheet, whole or not."""

import csv
import io
import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx
import pytest
import simplejson
import uvicorn
from click.testing import CliRunner
from pyarrow import parquet

from gateway import api, export
from gateway.cli import gateway
from gateway.store import Filter, Stored, StoreUnavailable
from gateway.store.sqlite import SqliteStore
from protocols.observation import Device, Kind, Quantity, State, Unit, Value
from tests.gateway.stations import accepted, eventually, glucose, pressure
from tests.gateway.test_api import get, parts_of

_HOSTILE = '=HYPERLINK("http://evil.example","a")'


def fill(store: SqliteStore) -> None:
    hostile = Device(_HOSTILE)
    store.commit(
        [
            accepted(
                1,
                glucose(1, "5.50"),
                glucose(2, "33.3", state=State.ABOVE_RANGE),
                glucose(3, "-0.0050", device=hostile),
                pressure(4, 120, 80, 60),
                glucose(5, kind=Kind.CONTROL_SOLUTION),
            )
        ]
    )


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(answer.text, newline=""))]


def test_csv_has_a_row_for_each_value_with_its_digits(store: SqliteStore) -> None:
    fill(store)

    answer = get(store, "/api/v1/readings/export?format=csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="readings.csv"' in answer.headers["content-disposition"]
    found = {(row["sequence"], row["quantity"]): row for row in rows(answer)}
    assert len(found) == 6
    first = found["1", "glucose"]
    assert (first["value"], first["unit"], first["state"]) == (
        "5.50",
        "mmol/L",
        "measured",
    )
    assert (first["canonical_value"], first["canonical_unit"]) == (
        "99.085800",
        "mg/dL",
    )
    assert (first["loinc"], first["mdc"]) == ("14743-9", "160188")
    assert first["utc"] == "2026-03-01T07:31:00.000Z"
    assert first["time_bound_s"] == "1.500"
    assert json.loads(first["context"]) == {"sample": "capillary_plasma"}
    above = found["2", "glucose"]
    assert (above["value"], above["limit"], above["state"]) == (
        "",
        "33.3",
        "above-range",
    )
    assert found["4", "pulse-rate"]["value"] == "60"


@pytest.mark.parametrize("start", [*"=+-@\t\r\n", "\uff1d", "\uff0b"])
def test_csv_holds_no_formula(store: SqliteStore, start: str) -> None:
    """A device's name would run in the spreadsheet of whoever opens the file."""
    device = Device(start + 'cmd|"/c calc"!A1')
    store.commit([accepted(1, glucose(1, "-1.5", device=device))])

    (row,) = rows(get(store, "/api/v1/readings/export?format=csv"))

    assert row["device"] == "'" + device.id
    assert row["value"] == "-1.5"


def test_ndjson_holds_what_the_api_shows_and_ends_with_the_count(
    store: SqliteStore,
) -> None:
    fill(store)
    shown = get(store, "/api/v1/readings").text

    *lines, last = get(store, "/api/v1/readings/export?format=ndjson").text.splitlines()

    exact = partial(simplejson.loads, use_decimal=True)
    assert [exact(line) for line in lines] == exact(shown)["readings"]
    assert json.loads(last) == {"readings": 4}


def test_parquet_keeps_numbers_and_their_digits(store: SqliteStore) -> None:
    fill(store)

    body = get(store, "/api/v1/readings/export?format=parquet").content

    found = parquet.read_table(io.BytesIO(body)).to_pylist()
    by_key = {(row["sequence"], row["quantity"]): row for row in found}
    first = by_key[1, "glucose"]
    assert (first["value"], first["value_text"]) == (Decimal("5.5"), "5.50")
    assert (first["canonical_value"], first["canonical_value_text"]) == (
        Decimal("99.0858"),
        "99.085800",
    )
    assert first["utc"].isoformat() == "2026-03-01T07:31:00+00:00"
    assert by_key[3, "glucose"]["device"] == _HOSTILE
    assert by_key[2, "glucose"]["value"] is None
    assert len(found) == 6


def test_a_number_beyond_parquets_decimals_is_there_as_text(
    store: SqliteStore,
) -> None:
    """Never rounded in silence, and no reason to lose the file."""
    odd = glucose(1)
    far = Value(Quantity.GLUCOSE, Unit.MMOL_PER_L, Decimal("1E+40"))
    long = Value(Quantity.GLUCOSE, Unit.MMOL_PER_L, Decimal("5.1234567890123"))
    for number, value in enumerate((far, long), 1):
        seen = replace(odd.observation, values=(value,), sequence=number)
        store.commit([accepted(number, replace(odd, observation=seen))])

    body = get(store, "/api/v1/readings/export?format=parquet").content

    found = parquet.read_table(io.BytesIO(body)).to_pylist()
    assert [row["value"] for row in found] == [None, None]
    assert [row["value_text"] for row in found] == ["1E+40", "5.1234567890123"]


@pytest.mark.parametrize("form", [*export.Format])
def test_an_export_of_nothing_is_whole(store: SqliteStore, form: str) -> None:
    body = get(store, f"/api/v1/readings/export?format={form}").content

    if form == "parquet":
        assert parquet.read_table(io.BytesIO(body)).num_rows == 0
    elif form == "csv":
        assert body.count(b"\r\n") == 1
    else:
        assert body == b'{"readings":0}\n'


def test_filters_are_those_of_the_list(store: SqliteStore) -> None:
    fill(store)

    def sequences(**parameters: str) -> list[str]:
        answer = get(
            store,
            "/api/v1/readings/export",
            params={"format": "csv", **parameters},
        )
        assert answer.status_code == 200, answer.text
        return [row["sequence"] for row in rows(answer)]

    assert sequences(kind="blood-pressure") == ["4"] * 3
    assert sequences(since="2026-03-01T07:33:00Z", device="cuff-1") == ["4"] * 3
    assert sequences(until="2026-03-01T07:32:00Z") == ["1"]
    assert sequences(station="nowhere") == []


def test_what_comes_during_an_export_is_the_next_ones(store: SqliteStore) -> None:
    """Else one would not end while readings come in."""
    store.commit([accepted(1, *[glucose(number) for number in range(2_500)])])
    counter, met = 1, 0

    for page in export.pages(store, Filter(), lambda _: None):
        met += len(page)
        counter += 1
        store.commit([accepted(counter, glucose(10_000 + counter))])

    assert met == 2_500


@pytest.mark.parametrize(
    "form", ["csv", "ndjson", pytest.param("parquet", marks=pytest.mark.scale)]
)
def test_memory_does_not_grow_with_the_rows(store: SqliteStore, form: str) -> None:
    """A country's readings have to fit through a small machine."""
    store.commit([accepted(1, *[glucose(number) for number in range(1_000)])])
    page = store.readings(Filter(), 0, 1_000)

    def most(pages: int) -> int:
        tracemalloc.start()
        for _ in export.write(export.Format(form), (page for _ in range(pages))):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    most(1)
    few, many = (20, 40) if form == "parquet" else (2, 8)
    assert most(many) < 1.3 * most(few)


class _Breaking(SqliteStore):
    """A store that is gone after the first page."""

    def readings(self, which: Filter, after: int, limit: int) -> list[Stored]:
        if after:
            raise StoreUnavailable("gone")
        return super().readings(which, after, limit)


@contextmanager
def web(store: SqliteStore) -> Iterator[int]:
    """Serve the API for real; yield the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(api.build(parts_of(store)), log_config=None, lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert eventually(lambda: server.started)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("form", [*export.Format])
def test_an_export_that_breaks_off_can_be_seen_to(
    store: SqliteStore, form: str
) -> None:
    """A file that ends too soon, and looks whole, would be believed."""
    store.commit([accepted(1, *[glucose(number) for number in range(1_500)])])
    store.__class__ = _Breaking
    with web(store) as port, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(
            f"http://127.0.0.1:{port}/api/v1/readings/export", params={"format": form}
        )


def test_four_exports_at_a_time_are_enough(store: SqliteStore) -> None:
    store.commit([accepted(1, *[glucose(number) for number in range(5_000)])])
    with web(store) as port:
        url = f"http://127.0.0.1:{port}/api/v1/readings/export?format=ndjson"
        held = [_begin(port) for _ in range(4)]
        try:
            assert eventually(lambda: httpx.get(url).status_code == 503)
        finally:
            for one in held:
                one.close()
        assert eventually(lambda: httpx.get(url).status_code == 200)


def _begin(port: int) -> socket.socket:
    """Ask for an export, and read none of it but its beginning."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    asking.connect(("127.0.0.1", port))
    asking.sendall(
        b"GET /api/v1/readings/export?format=ndjson HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    )
    assert asking.recv(100)
    return asking


def test_the_command_writes_a_whole_file_or_none(
    store: SqliteStore, tmp_path: Path
) -> None:
    fill(store)
    file = tmp_path / "out" / "readings.csv"
    asked = ["export", "--data", str(tmp_path), "--format", "csv", "--out", str(file)]

    missing = CliRunner().invoke(gateway, asked)
    assert missing.exit_code == 1
    assert str(file.parent) in missing.stderr
    file.parent.mkdir()
    done = CliRunner().invoke(gateway, [*asked, "--kind", "blood-pressure"])

    assert done.exit_code == 0, done.output
    assert json.loads(CliRunner().invoke(gateway, [*asked, "--json"]).stdout) == {
        "file": str(file),
        "readings": 4,
    }
    assert [one.name for one in file.parent.iterdir()] == ["readings.csv"]
    assert len(file.read_text().splitlines()) == 7
