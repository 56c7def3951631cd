"""``gateway serve`` for other machines: under TLS, with a token."""

import json
import ssl
from pathlib import Path

import httpx

from tests.gateway.receiver import certify
from tests.gateway.test_serve import serving


def _settings(folder: Path, certificate: str) -> str:
    file = folder / "gateway.toml"
    file.write_text(
        '[http]\nhost = "0.0.0.0"\naccess = "token"\n'
        f'tls_cert = "{certificate}"\ntls_key = "{certificate}"\n'
    )
    return str(file)


def test_others_are_served_under_tls_and_asked_for_a_token(tmp_path: Path) -> None:
    certificate = certify(tmp_path)
    settings = _settings(tmp_path, certificate.name)
    with serving(tmp_path / "data", "--json", "--config", settings) as (_, line):
        said = json.loads(line)
        port = said["http"].rsplit(":", 1)[1].strip("/")
        assert said["http"].startswith("https://")
        trusted = ssl.create_default_context(cafile=certificate)
        with httpx.Client(
            verify=trusted, base_url=f"https://127.0.0.1:{port}"
        ) as client:
            assert client.get("/readyz").text == "ready\n"
            assert client.get("/api/v1/readings").status_code == 401


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "gone.pem")
    with serving(tmp_path / "data", "--config", settings) as (process, _):
        _, said = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "gone.pem" in said
    assert "Traceback" not in said
