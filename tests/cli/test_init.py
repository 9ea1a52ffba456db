"""`receiver init`: a configuration to start from."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from receiver import config, providers
from receiver.extensions.modules import files
from receiver.plugin_host.files import shipped_folder
from receiver.providers import built_in
from tests.cli.program import run, told

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_a_first_configuration_is_written(tmp_path: Path) -> None:
    """It is right as it is, for its owner's eyes only, and has a source of each that pushes."""
    shown = told(tmp_path, "init")
    file = tmp_path / "receiver.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    loaded = config.load(file)
    pushing = [name for name, provider in built_in().items() if provider.pushes]
    assert list(loaded.sources) == pushing
    [warning] = re.findall("^warning: (.*)$", told(tmp_path, "check"), re.MULTILINE)
    assert warning.startswith("sources.text-connect.send: none, and Text-Connect")
    assert "to reply, give [sources.text-connect.send] its api_key and sender." in shown
    tokens = [token.reveal() for source in loaded.sources.values() for token in source.tokens]
    assert all(len(token) == 43 for token in tokens)  # 256 bits
    assert len(set(tokens)) == len(pushing)
    for name, token in zip(loaded.sources, tokens, strict=True):
        assert built_in()[name].title in shown
        assert re.search(
            rf" https://sms\.example\.com/hooks/{name}(/{token})?$", shown, re.MULTILINE
        )
        assert token in shown


def test_a_provider_that_pushes_nothing_waits_in_comments(tmp_path: Path) -> None:
    """Without the signs its tables are right as they are, but for the key."""
    told(tmp_path, "init")
    file = tmp_path / "receiver.toml"
    begin, end = "# [sources.rayprotech]", 'env:RAYPROTECH_API_KEY"\n'
    before, table = file.read_text().split(begin)
    commented, after = table.split(end)
    uncommented = f"{begin}{commented}{end}".replace("# ", "", 1).replace("\n# ", "\n")
    file.write_text(before + uncommented.replace("\n#\n", "\n\n") + after)
    loaded = config.load(file, {"RAYPROTECH_API_KEY": "key"})
    assert isinstance(providers.create(loaded)["rayprotech"], built_in()["rayprotech"])
    assert loaded.sources["rayprotech"].send


def test_it_is_explained(tmp_path: Path) -> None:
    """The file says in comments what its settings are for."""
    told(tmp_path, "init", "--path", "here.toml")
    text = (tmp_path / "here.toml").read_text()
    assert "@" not in text
    assert text.count("#") > 10


def test_tokens_are_new_each_time(tmp_path: Path) -> None:
    """Nobody else has them."""
    for name in ("one.toml", "two.toml"):
        told(tmp_path, "init", "--config", name)
    one, two = ((tmp_path / name).read_text() for name in ("one.toml", "two.toml"))
    assert not set(re.findall(r"[\w-]{43}", one)) & set(re.findall(r"[\w-]{43}", two))


def test_urls_are_those_of_the_public_address(tmp_path: Path) -> None:
    """As `--base-url` gives it."""
    shown = told(tmp_path, "init", "--base-url", "https://sms.acme.co.ke/")
    assert "https://sms.acme.co.ke/hooks/tilil\n" in shown
    assert "example.com" not in shown


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """A file that is there stays; with --force it is replaced, whole."""
    file = tmp_path / "receiver.toml"
    file.write_text("mine")
    result = run(tmp_path, "init")
    expected = "receiver: receiver.toml: exists already; --force overwrites it\n"
    assert (result.returncode, result.stderr) == (1, expected)
    assert file.read_text() == "mine"
    file.chmod(0o644)
    told(tmp_path, "init", "--force")
    assert "[sources.tilil]" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["receiver.toml"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """One line that names the file."""
    result = run(tmp_path, "init", "--path", "no/where.toml")
    expected = "receiver: no/where.toml: No such file or directory\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_the_example_is_right(tmp_path: Path) -> None:
    """`receiver check` takes config.example.toml, without a warning, and it has every plugin.

    But for one: here everybody can read it, as nobody shall a file with secrets.
    """
    copy = tmp_path / "receiver.toml"
    copy.touch(0o600)
    copy.write_bytes(EXAMPLE.read_bytes())
    shown = told(tmp_path, "check")
    assert "no faults" in shown
    assert "warning" not in shown
    shipped = files(shipped_folder())
    assert set(config.load(EXAMPLE).plugins.enabled) == shipped.keys()
