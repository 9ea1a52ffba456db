"""`receiver doctor --from-outside`, through the shipped file of nginx."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.program import run
from tests.deploy import proxies
from tests.harness import inbound, serve, settings


def test_all_is_well_behind_the_shipped_proxy(tmp_path: Path) -> None:
    """The certificate, what is passed on and what is not; and whose addresses are recorded."""
    certificate = proxies.make_certificate(tmp_path)
    folder = tmp_path / "nginx"
    folder.mkdir()
    with (
        serve(tmp_path / "service", settings()) as service,
        proxies.running("nginx", folder, certificate, service.port) as proxy,
    ):
        assert proxy.ask("POST", "/hooks/tilil", inbound(1)).status == 200
        url = f"https://127.0.0.1:{proxy.port}"
        trust = {"SSL_CERT_FILE": str(certificate.file)}
        arguments = ["doctor", "--json", "--from-outside", url]
        trusted = run(service.folder, *arguments, **trust)
        stranger = run(service.folder, *arguments)
    found = [json.loads(line) for line in trusted.stdout.splitlines()]
    outside = [(each["level"], each["found"]) for each in found if each["check"] == "outside"]
    assert outside[0][0] == "red"  # it is made for two days
    assert outside[0][1].startswith("the certificate is valid for 1 days, until 20")
    assert outside[1:] == [
        ("green", "/healthz is answered by the service"),
        ("green", "/readyz is answered by the service"),
        ("green", "/hooks/nobody-but-receiver-doctor is answered by the service"),
        ("green", "/ is not served (404)"),
        ("green", "/metrics is not served (404)"),
    ]
    assert stranger.returncode == 1
    assert f"{url} cannot be reached: [SSL: CERTIFICATE_VERIFY_FAILED]" in stranger.stdout
