"""`receiver init`."""

from __future__ import annotations

import os
import secrets
from importlib import resources
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from receiver.cli import output
from receiver.cli.init_sources import folders_table, new_token, source_table
from receiver.errors import Failed
from receiver.providers import Provider, ProviderType, built_in, is_file, known, load_file


def command(
    *,
    path: Annotated[
        Path,
        typer.Option("--config", "--path", metavar="FILE", help="The configuration file to write."),
    ] = Path("receiver.toml"),
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="A provider to write a source of, or its file; may be given several times."
            " Default: every built-in one. `receiver providers` lists all.",
        ),
    ] = None,
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="The public URL of the service.")
    ] = "https://sms.example.com",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Writes a commented receiver.toml with new random tokens; only its owner can read it.

    Prints the URL and the secret to enter in each provider's portal.
    """
    chosen = _chosen(provider)
    tokens = {name: new_token(each) for name, each in chosen.items() if each.pushes}
    hooks = f"{base_url.rstrip('/')}/hooks"
    tables = [
        source_table(each, tokens.get(name), f"{hooks}/{name}", asked_for=bool(provider))
        for name, each in chosen.items()
    ]
    text = resources.files(__package__).joinpath("init.toml").read_text("utf-8")
    text = text.replace("@providers@", folders_table(_folders(provider, path)))
    try:
        _write(path, text.replace("@sources@\n", "\n".join(tables)), force=force)
    except FileExistsError:
        raise Failed(f"{path}: exists already; --force overwrites it") from None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    output.line(f"Wrote {path}. Enter in the portals of your providers:")
    for name, token in tokens.items():
        print(f"\n{chosen[name].title}")
        output.details(_portal(chosen[name], token, f"{hooks}/{name}"))
    for name, each in chosen.items():
        if each.receives_messages and each.takes_reply is Provider.takes_reply:
            print(
                f"\n{each.title} takes no reply in its answer: to reply,"
                f" give [sources.{name}.send] its api_key and sender."
            )
    print("\nThen: receiver check, receiver serve")


def _chosen(names: list[str] | None) -> dict[str, ProviderType]:
    """Returns the providers to write a source of, by name."""
    if not names:
        return dict(built_in())
    providers, chosen = known(), {}
    for name in names:
        if is_file(name):
            found = load_file(Path(name))
            chosen[found.name] = found
        elif name in providers:
            chosen[name] = providers[name]
        else:
            raise typer.BadParameter(providers.unknown(name), param_hint="--provider")
    return chosen


def _folders(names: list[str] | None, path: Path) -> list[str]:
    """Returns the folders of the files that were named, as `path` may name them."""
    start = path.absolute().parent
    folders = [Path(name).absolute().parent for name in names or () if is_file(name)]
    return [os.path.relpath(folder, start) for folder in dict.fromkeys(folders)]


def _portal(provider: ProviderType, token: str, url: str) -> list[tuple[str, str]]:
    """Returns what to enter in the provider's portal, each with the name of its field."""
    pairs = []
    for push_url in provider.push_urls:
        in_url = push_url.secret is None
        pairs.append((f"  {push_url.label}", f"{url}/{quote(token)}" if in_url else url))
        if push_url.secret is not None:
            pairs.append((f"  {push_url.secret}", token))
    return pairs


def _write(path: Path, text: str, *, force: bool) -> None:
    """Writes a new file that others can never read. Raises OSError."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if force else path
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    if force:
        new.replace(path)
