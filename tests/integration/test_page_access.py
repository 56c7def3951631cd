"""The page of a gateway that asks everybody for a token, in a real browser."""

import json
import time
from pathlib import Path
from shutil import which

import httpx
import pytest

from gateway.access import LOCAL, Access, Principal, Role
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import accepted, glucose
from tests.gateway.test_serve import serving

pytestmark = pytest.mark.integration
sync_api = pytest.importorskip("playwright.sync_api")

_HOUR_MS = 3_600_000


def _token(data: Path, *roles: Role) -> str:
    store = SqliteStore(data / "readings.sqlite")
    if not store.last():
        store.commit([accepted(1, glucose(1), glucose(2))])
    access = Access(store.database, open_local=False)
    who = Principal(0, "clinic", "-".join(roles), frozenset(roles))
    with access.recorded(LOCAL, "token.made") as change:
        made = access.principals.issue(
            change, who, time.time_ns() // 1_000_000 + _HOUR_MS
        )
    store.close()
    assert made is not None
    return made[1]


def test_the_page_asks_for_a_token_and_forgets_it(tmp_path: Path) -> None:
    """Without one nothing is shown; with a steward's neither; a new tab has none."""
    data = tmp_path / "data"
    data.mkdir()
    operator, steward = _token(data, Role.OPERATOR), _token(data, Role.STEWARD)
    settings = tmp_path / "gateway.toml"
    settings.write_text('[http]\naccess = "token"\n')
    with (
        serving(data, "--json", "--config", str(settings)) as (_, line),
        sync_api.sync_playwright() as playwright,
    ):
        said = json.loads(line)
        assert httpx.get(said["http"] + "api/v1/devices").status_code == 401
        browser = playwright.chromium.launch(
            executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context()
        page = context.new_page()
        page.goto(said["http"])

        asked = page.get_by_label("Token")
        asked.wait_for()
        assert page.locator("#devices").is_hidden()
        asked.fill(steward)
        page.get_by_role("button", name="Enter").click()
        page.get_by_text("this needs the role operator").wait_for()
        asked.fill(operator)
        asked.press("Enter")
        page.get_by_text("live", exact=True).wait_for()
        page.get_by_role("button", name="Acme Sweet 1").wait_for()
        assert asked.is_hidden()

        other = context.new_page()
        other.goto(said["http"])
        other.get_by_label("Token").wait_for()
        browser.close()
