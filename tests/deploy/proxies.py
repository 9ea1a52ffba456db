"""The proxies with the files of docs/deploy, on loopback, with a certificate of their own.

The shipped text is changed as a person would change it, by replacing names, ports and files;
a replacement that finds nothing fails the test.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.harness import Reply, until
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
#: The name in the shipped files.
HOST = "sms.example.com"
#: The name in those for the console.
_CONSOLE = "console.example.com"
KINDS = ("nginx", "caddy")

#: What nginx needs around a file of /etc/nginx/conf.d.
_NGINX = """\
{user}pid {folder}/nginx.pid;
error_log {folder}/start.log;
daemon off;
{main}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/receiver.conf;
}}
"""


class Certificate(msgspec.Struct, frozen=True):
    """A certificate for `HOST` that it signed itself."""

    file: Path
    key: Path


class Proxy(msgspec.Struct, frozen=True):
    """A running reverse proxy."""

    port: int
    folder: Path
    tls: ssl.SSLContext

    def connect(self, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """A new connection, from an address of this machine."""
        plain = socket.create_connection(("127.0.0.1", self.port), 30, (source, 0))
        return self.tls.wrap_socket(plain, server_hostname=HOST)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        source: str = "127.0.0.1",
    ) -> Reply:
        """The answer to one request."""
        connection = http.client.HTTPConnection(HOST)
        connection.sock = self.connect(source)
        with closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, answer.read())

    def logs(self) -> str:
        """Everything it has written down, and what it said."""
        return "".join(file.read_text("utf-8") for file in sorted(self.folder.glob("*.log")))


def make_certificate(folder: Path) -> Certificate:
    """A certificate, by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate for the proxies")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext"]
    command += [
        f"subjectAltName=DNS:{HOST},IP:127.0.0.1",
        "-keyout",
        str(made.key),
        "-out",
        str(made.file),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return made


@contextmanager
def running(
    kind: str,
    folder: Path,
    certificate: Certificate,
    service: int | Sequence[int],
    changes: Mapping[str, str] | None = None,
    *,
    console: bool = False,
) -> Iterator[Proxy]:
    """A proxy with its shipped file, in front of a service on a port; `changes` are made to it.

    `console`: with the file for the console, in front of one. With several ports: with the file for
    the receivers of one store.
    """
    program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"{kind} is not installed")
    tls = ssl.create_default_context(cafile=certificate.file)
    proxy = Proxy(port=free_port(), folder=folder, tls=tls)
    prepare = {"nginx": _prepare_nginx, "caddy": _prepare_caddy}[kind]
    arguments = prepare(proxy, certificate, service, console=console)
    if changes:
        file = folder / {"nginx": "receiver.conf", "caddy": "Caddyfile"}[kind]
        file.write_text(_replaced(file, changes))
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
    try:
        until(lambda: _listens(proxy) or process.poll() is not None, f"{kind} listens")
        assert process.poll() is None, proxy.logs()
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


def _prepare_nginx(
    proxy: Proxy, certificate: Certificate, service: int | Sequence[int], *, console: bool
) -> list[str]:
    port, name = (8082, _CONSOLE) if console else (8080, HOST)
    which, places = _places(service, port, console=console)
    text = _replaced(
        DEPLOY / f"{which}nginx.conf",
        places
        | {
            "listen 443 ssl;": f"listen 127.0.0.1:{proxy.port} ssl;",
            "listen [::]:443 ssl;": f"listen [::1]:{proxy.port} ssl;",
            f"/etc/letsencrypt/live/{name}/fullchain.pem": str(certificate.file),
            f"/etc/letsencrypt/live/{name}/privkey.pem": str(certificate.key),
            f"server_name {name};": f"server_name {HOST};",
            "/var/log/nginx/": f"{proxy.folder}/",
        },
    )
    (proxy.folder / "receiver.conf").write_text(text)
    user = "user root;\n" if os.geteuid() == 0 else ""  # as it may read the folder
    shipped = (DEPLOY / "nginx.conf").read_text("utf-8")
    advised = "\n".join(re.findall(r"^#     (.+)$", shipped, re.MULTILINE))
    assert "events" in advised, "the file says no more what belongs outside of http"
    main = proxy.folder / "nginx.conf"
    main.write_text(_NGINX.format(folder=proxy.folder, user=user, main=advised))
    return ["-c", str(main), "-e", str(proxy.folder / "start.log")]


def _prepare_caddy(
    proxy: Proxy, certificate: Certificate, service: int | Sequence[int], *, console: bool
) -> list[str]:
    port, name = (8082, _CONSOLE) if console else (8080, HOST)
    site = {
        f"{name} {{": (
            f"{HOST}:{proxy.port} {{\n\tbind 127.0.0.1\n\ttls {certificate.file} {certificate.key}"
        ),
    }
    which, places = _places(service, port, console=console)
    site |= places
    # Not at the port that the machine's own Caddy may have.
    if console:
        own = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
        text = own + _replaced(DEPLOY / f"{which}Caddyfile", site)
    else:
        alone = {"{\n\t# No redirects": "{\n\tadmin off\n\t# No redirects"}
        text = _replaced(DEPLOY / f"{which}Caddyfile", alone | site)
    file = proxy.folder / "Caddyfile"
    file.write_text(text)
    return ["run", "--adapter", "caddyfile", "--config", str(file)]


def _places(
    service: int | Sequence[int], port: int, *, console: bool
) -> tuple[str, dict[str, str]]:
    """What the name of the shipped file begins with, and its addresses with those of the tests."""
    if isinstance(service, int):
        which = "console." if console else ""
        return which, {f"127.0.0.1:{port}": f"127.0.0.1:{service}"}
    each = enumerate(service, 1)
    return "cluster.", {f"10.0.0.1{n}:{port}": f"127.0.0.1:{place}" for n, place in each}


def _replaced(file: Path, replacements: Mapping[str, str]) -> str:
    text = file.read_text("utf-8")
    for old, new in replacements.items():
        assert old in text, f"{file} has no {old!r} any more"
        text = text.replace(old, new)
    return text


def _listens(proxy: Proxy) -> bool:
    try:
        proxy.connect().close()
    except OSError:
        return False
    return True
