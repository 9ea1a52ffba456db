"""docs/deployment.md, typed into an empty Debian 12 with a systemd of its own.

Only certbot is another, as nobody would certify the name: it wants the same port and makes the
same files.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from tests import stored
from tests.deploy.debian import HOST, Machine, blocks, commit, debian, names
from tests.harness import until

pytestmark = pytest.mark.slow

_STORE = "/var/lib/receiver/receiver.db"
_SOURCE = "/usr/local/src/sms-receiver"
#: Seconds for what systemd does after 30 seconds of silence.
_WATCHDOG = 90
#: More connections than Debian's nginx holds: 768 for each core.
_STRANGERS = 4000
#: Down to the first push, in the page's order.
_INSTALLATION = (
    *("Packages", "The program", "Configuration", "The service", "HTTPS with nginx"),
    "The first push",
)
_CERTBOT = f"""\
#!/bin/sh -e
python3 -c 'import socket; socket.create_server(("", 80))'
folder=/etc/letsencrypt/live/{HOST}
mkdir -p $folder
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={HOST} \\
  -addext subjectAltName=DNS:{HOST} -keyout $folder/privkey.pem -out $folder/fullchain.pem
cat $folder/fullchain.pem >> /etc/ssl/certs/ca-certificates.crt
"""


class Pushed(msgspec.Struct):
    """What clients were answered."""

    outcomes: dict[str, int]
    acked: list[str]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian on which the page was followed down to the first push."""
    with debian(tmp_path_factory.mktemp("deployment")) as started:
        certbot = started.path("/usr/local/bin/certbot")
        certbot.write_text(_CERTBOT)
        certbot.chmod(0o755)
        typed = [f"echo '## {name}'\n{block}" for name in _INSTALLATION for block in blocks(name)]
        said = started.type("\n".join([names(), *typed]))
        started.path("/root/installation.log").write_text(said)
        yield started


def token(machine: Machine) -> str:
    """The credential of Tilil's pushes."""
    text = machine.path("/etc/receiver/receiver.toml").read_text("utf-8")
    found = str(tomllib.loads(text)["sources"]["tilil"]["tokens"][0])
    kind, _, name = found.partition(":")
    return machine.path(f"/etc/receiver/secrets/{name}").read_text() if kind != found else found


@contextmanager
def load(machine: Machine, url: str, name: str) -> Iterator[Pushed]:
    """Pushes all the while; what came of them is there when the block has ended."""
    program = (sys.executable, "-m", "tests.deploy.pushing", url, name)
    pushed = Pushed({}, [])
    with machine.start(*program) as clients:
        assert clients.stdin
        assert clients.stdout
        clients.stdin.write(f"{token(machine)}\n")
        clients.stdin.flush()
        for _ in range(8):
            assert clients.stdout.readline() == "pushing\n"
        try:
            yield pushed
        finally:
            clients.stdin.close()
            done = json.loads(clients.stdout.read().splitlines()[-1])
            pushed.outcomes, pushed.acked = done["outcomes"], done["acked"]


def missing(machine: Machine, acked: list[str]) -> set[str]:
    """What was acknowledged and is not stored exactly once."""
    keys = Counter(stored.keys(machine.path(_STORE)))
    return {id_ for id_ in acked if keys[f"message:{id_}"] != 1}


def simulate(machine: Machine, *arguments: str) -> str:
    """A message through the proxy, and its answer."""
    words = " ".join(("receiver simulate tilil inbound --url", f"https://{HOST}", *arguments))
    return machine.type(words)


def test_the_first_push_is_answered(machine: Machine) -> None:
    """Whoever has typed the page sees their first push answered, at the service and by HTTPS."""
    said = machine.path("/root/installation.log").read_text()
    assert said.count("← 200") == 2
    for word in ("hello", "https"):
        assert said.count(f'"result_message":"Welcome to the game! You said: {word}"') == 1
    listed = said.partition("## The first push")[2]
    assert len(re.findall(r"message +tilil", listed)) == 2
    assert len(re.findall(r"message +tilil", machine.type(blocks("The service")[1]))) == 2


def test_systemd_knows_how_the_service_is(machine: Machine) -> None:
    """It was started when the service said so, by a socket that stays, and nothing has failed."""
    said = machine.path("/root/installation.log").read_text()
    assert "Active: active (running)" in said
    assert machine.show("receiver.service", "Type") == "notify"
    assert machine.show("receiver.socket", "SubState") == "running"
    assert machine.show("receiver-backup.timer", "SubState") == "waiting"
    assert machine.type("systemctl is-system-running") == "running\n"


def test_the_service_is_exposed_little(machine: Machine) -> None:
    """Systemd's judgement of the running service, not of a file."""
    said = machine.type("systemd-analyze security --no-pager receiver.service | tail -n 1")
    found = re.search(r"Overall exposure level for receiver.service: ([0-9.]+)", said)
    assert found
    assert float(found[1]) <= 2.0


def test_only_the_proxy_and_ssh_are_reachable(machine: Machine) -> None:
    """With the page's firewall; the service, its metrics included, is on loopback alone."""
    [typed] = blocks("Firewall")
    machine.type(typed)
    assert "Status: active" in machine.type("ufw status")
    listening = machine.type("ss --no-header --listening --tcp --numeric")
    places = {line.split()[3] for line in listening.splitlines()}
    assert {place for place in places if not place.startswith("127.")} == {
        "0.0.0.0:443",
        "[::]:443",
    }
    assert "← 200" in simulate(machine)


def test_slow_strangers_keep_nobody_out(machine: Machine) -> None:
    """Many connections that say nothing are no obstacle to a push through nginx."""
    opening = (
        "import resource, socket, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))\n"
        f"held = [socket.create_connection(('127.0.0.1', 443)) for _ in range({_STRANGERS})]\n"
        "print(len(held), flush=True)\n"
        "sys.stdin.read()"
    )
    with machine.start(sys.executable, "-c", opening) as strangers:
        assert strangers.stdout
        assert strangers.stdout.readline() == f"{_STRANGERS}\n"
        assert "← 200" in simulate(machine)


def test_reload_takes_in_a_rule(machine: Machine) -> None:
    """What the page says to type after a change has the next message answered by it."""
    machine.type("sed -i 's/Welcome to the game/Karibu/' /etc/receiver/receiver.toml")
    process = machine.show("receiver.service", "MainPID")
    [typed] = blocks("Changes")
    machine.type(typed)
    until(lambda: "Karibu" in simulate(machine, "--set message=game"), "the new answer")
    assert machine.show("receiver.service", "MainPID") == process


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", f"https://{HOST}"])
def test_restarts_refuse_nobody(machine: Machine, url: str) -> None:
    """Restarted under load: every push is answered 200, is stored, once; by the proxy as well."""
    name = url.partition(":")[0]
    with load(machine, f"{url}/hooks/tilil", name) as pushed:
        for _ in range(5):
            machine.type("systemctl restart receiver.service")
    assert set(pushed.outcomes) == {"200"}, pushed.outcomes
    assert len(pushed.acked) > 100
    assert missing(machine, pushed.acked) == set()


def test_a_hung_service_is_started_again(machine: Machine) -> None:
    """Systemd misses its signs of life; who pushes meanwhile is answered by the next one."""
    before, restarts = (machine.show("receiver.service", what) for what in ("MainPID", "NRestarts"))
    machine.type(f"kill -STOP {before}")

    def another() -> bool:
        process = machine.show("receiver.service", "MainPID")
        active = machine.show("receiver.service", "ActiveState") == "active"
        return active and process not in (before, "0")

    until(another, "another process", _WATCHDOG)
    assert int(machine.show("receiver.service", "NRestarts")) == int(restarts) + 1
    assert "← 200" in simulate(machine)


def test_a_killed_service_is_started_again(machine: Machine) -> None:
    """It goes on where it was: nothing that was acknowledged is gone, the next push is answered."""
    with load(machine, "http://127.0.0.1:8080/hooks/tilil", "killed") as pushed:
        machine.type("systemctl kill --signal KILL receiver.service")
        until(lambda: machine.show("receiver.service", "ActiveState") == "active", "it is back")
    assert missing(machine, pushed.acked) == set()
    assert "← 200" in simulate(machine)


def test_starting_is_never_given_up(machine: Machine) -> None:
    """What keeps the service from its store may take longer than a few restarts."""
    held = machine.start("flock", str(machine.path(f"{_STORE}.lock")), "cat")
    before = int(machine.show("receiver.service", "NRestarts"))
    machine.type("systemctl kill --signal KILL receiver.service")
    until(lambda: int(machine.show("receiver.service", "NRestarts")) > before + 8, "more restarts")
    with held:
        pass
    until(lambda: machine.show("receiver.service", "ActiveState") == "active", "it is back")
    assert "← 200" in simulate(machine)


def test_a_faulty_configuration_ends_when_it_is_mended(machine: Machine) -> None:
    """Pushes start the service in vain only so often, and a restart then is enough."""
    machine.type("echo '[serve]' >> /etc/receiver/receiver.toml")
    machine.type("systemctl restart receiver.service", fails=True)
    clients = machine.start("curl", "--silent", "http://127.0.0.1:8080/healthz")
    with clients:
        until(lambda: machine.show("receiver.socket", "ActiveState") == "failed", "nobody is taken")
    machine.type("sed -i '$d' /etc/receiver/receiver.toml; systemctl restart receiver.service")
    assert "← 200" in simulate(machine)


def test_a_backup_is_whole(machine: Machine) -> None:
    """The unit writes a verified copy with all that was acknowledged before it began."""
    keys = stored.keys(machine.path(_STORE))
    machine.type("systemctl start receiver-backup.service")
    said = machine.type("journalctl --no-pager --unit receiver-backup.service")
    assert re.search(r"receiver-\S+Z\.db: [\d,]+ events, [\d,]+ bytes, verified", said)
    [copy] = machine.path("/var/backups/receiver").glob("*.db")
    assert stored.keys(copy) == keys
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_failed_backup_deletes_nothing(machine: Machine) -> None:
    """Old backups go after a new one is there, and not before."""
    folder = machine.path("/var/backups/receiver")
    old = folder / "receiver-old.db"
    machine.type(f"touch -d '20 days ago' /var/backups/receiver/{old.name}")
    machine.type("mv /etc/receiver/receiver.toml /etc/receiver/away.toml")
    machine.type("systemctl start receiver-backup.service", fails=True)
    assert old.exists()
    machine.type("mv /etc/receiver/away.toml /etc/receiver/receiver.toml")
    machine.type("systemctl start receiver-backup.service")
    assert not old.exists()
    assert len(list(folder.glob("*.db"))) == 2


def test_secrets_may_be_credentials(machine: Machine) -> None:
    """As the page has it: out of the configuration, for root alone, and for backups as well."""
    move, check = blocks("Secrets as systemd credentials")
    before = token(machine)
    machine.type(move)
    assert machine.path("/etc/receiver/secrets/tilil-token").read_text().strip() == before
    assert before not in machine.path("/etc/receiver/receiver.toml").read_text()
    assert "tilil" in machine.type(check)
    credentials = "CREDENTIALS_DIRECTORY=/etc/receiver/secrets"
    push = f"{credentials} receiver simulate tilil inbound --url https://{HOST}"
    assert "← 200" in machine.type(push)
    machine.type("systemctl start receiver-backup.service")
    put_back = f"sed -i 's/credential:tilil-token/{before}/' /etc/receiver/receiver.toml"
    machine.type(f"{put_back}; rm -r /etc/systemd/system/receiver*.d; systemctl daemon-reload")
    machine.type("systemctl restart receiver.service")


def test_upgrade_and_back(machine: Machine) -> None:
    """A new version takes over under load and hands back, with nobody refused."""
    [upgrade], [back, restore] = blocks("Upgrade"), blocks("Going back")
    module = machine.path("/srv/origin/receiver/__init__.py")
    old = machine.type("receiver --version")
    module.write_text(re.sub(r'(__version__ = ").*"', r'\g<1>99.0"', module.read_text()))
    commit(machine.root, "Another version")
    with load(machine, f"https://{HOST}/hooks/tilil", "upgrade") as pushed:
        machine.type(upgrade)
        assert "99.0" in machine.type("receiver --version")
        machine.type(back)
        assert machine.type("receiver --version") == old
    assert set(pushed.outcomes) == {"200"}, pushed.outcomes
    assert missing(machine, pushed.acked) == set()
    kept = machine.type(restore)
    assert "verified" in kept
    assert "← 200" in simulate(machine)


def test_by_hand(machine: Machine) -> None:
    """The page's lines without make install the program of this clone as well."""
    [typed] = blocks("By hand")
    machine.type(typed)
    commit = machine.type(f"git -C {_SOURCE} rev-parse HEAD")[:7]
    assert machine.type("receiver --version").endswith(f"(commit {commit})\n")
    machine.type("systemctl restart receiver.service")


def test_caddy_instead(machine: Machine) -> None:
    """The page's other proxy, with a certificate of its own making."""
    [typed] = blocks("HTTPS with Caddy instead")
    local = "sed -i 's/^sms.example.com {/&\\n\\ttls internal/' docs/deploy/Caddyfile"
    machine.type(f"systemctl stop nginx; cd {_SOURCE}; {local}\n{names()}{typed}")
    trusted = "curl --insecure --fail --silent --show-error"
    until(
        lambda: "ready" in machine.type(f"{trusted} https://{HOST}/readyz || true"), "it is ready"
    )
    with load(machine, f"https://{HOST}/hooks/tilil", "caddy") as pushed:
        for _ in range(5):
            machine.type("systemctl restart receiver.service")
    assert set(pushed.outcomes) == {"200"}, pushed.outcomes
    assert missing(machine, pushed.acked) == set()
    machine.type(f"curl --insecure --silent https://{HOST}/hook/tilil/{token(machine)}")
    logged = machine.type("journalctl --no-pager --unit caddy.service")
    assert '"uri":"/hooks/tilil"' in logged
    assert '"uri":"/hook"' in logged
    assert token(machine) not in logged
    machine.type("systemctl disable --now caddy; systemctl start nginx")


def test_uninstalling(machine: Machine) -> None:
    """Nothing of the program is left; the store and its backups are."""
    [typed] = blocks("Uninstalling")
    machine.type(typed)
    assert "receiver" not in machine.type("systemctl list-unit-files")
    assert machine.path(_STORE).exists()
