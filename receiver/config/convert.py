"""Converts decoded TOML to typed Structs, and names every fault at once.

msgspec's own `convert` stops at the first fault; `Converter` goes field by field, so that a
person mends the whole file in one go. It adds the types that configuration needs: `Secret`,
`Address`, `Network`, `Url`, `Age`, time zones and paths relative to the configuration file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, TypeVar, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from receiver.errors import ConfigError, Fault
from receiver.text.msisdn import is_code, is_possible_e164, readings
from receiver.text.times import length
from receiver.text.urls import is_http_url

StructT = TypeVar("StructT", bound=msgspec.Struct)

_EVERYBODY = "everybody is no network; name the addresses"


class Secret:
    """A text that is not shown when printed; `reveal()` returns it."""

    __slots__ = ("_text", "file", "in_place")

    def __init__(self, text: str, *, in_place: bool = False, file: Path | None = None) -> None:
        """`in_place`: it is written in the configuration itself; `file`: the file that held it."""
        self._text = text
        self.in_place = in_place
        self.file = file

    def reveal(self) -> str:
        """Returns the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Network:
    """An address or a network of addresses (CIDR)."""

    __slots__ = ("_network",)

    def __init__(self, text: str) -> None:
        if text.strip() == "*":
            raise ValueError(_EVERYBODY)
        try:
            self._network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"expected an address or network such as 10.0.0.0/8, got {text!r}"
            ) from None
        if self._network.prefixlen == 0:
            raise ValueError(_EVERYBODY)

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return address in self._network

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and other._network == self._network

    def __hash__(self) -> int:
        return hash(self._network)

    def __str__(self) -> str:
        return str(self._network)

    __repr__ = __str__


class Address(str):
    """A short code, number or sender ID of ours, as a person wrote it in the configuration."""

    __slots__ = ("forms",)

    def __new__(cls, text: str, regions: Iterable[str] = ()) -> Self:
        """`regions` of the sources are for numbers without a country code."""
        address = super().__new__(cls, text)
        address.forms = readings(text, regions)
        return address

    forms: frozenset[str]
    """The forms that events have; several if the regions read it differently."""

    def doubt(self) -> str | None:
        """Explains why it may be no address of ours, or another; None if it is plain."""
        if len(self.forms) > 1:
            return f"{self} is {' or '.join(sorted(self.forms))}: write it with its country code"
        if not self or any(is_possible_e164(form) or is_code(form) for form in self.forms):
            return None
        return (
            f"{self} is no number of a region of the sources and no short code, so nothing comes"
            " to it: write the whole number with its country code, such as +254712345678"
        )


class Url(str):
    """An address of another system's: `https://`, or `http://`, and a host."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raises ValueError for what is no address."""
        if not is_http_url(text):
            raise ValueError(f"expected https:// and an address, got {text!r}")
        return super().__new__(cls, text)


class Age:
    """A limit of age: `180d`, or `never` for none."""

    __slots__ = ("limit",)

    def __init__(self, text: str) -> None:
        self.limit = None if text.strip() == "never" else length(text)
        """None for no limit."""
        if self.limit is None and text.strip() != "never":
            raise ValueError(f'expected an age such as 180d, 26w or 12h, or "never", got {text!r}')

    def __repr__(self) -> str:
        return f"Age({self.limit})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Age) and other.limit == self.limit

    def __hash__(self) -> int:
        return hash(self.limit)


def read_toml(file: Path) -> dict[str, Any]:
    """Returns the tables of a file. Raises `ConfigError` for what is no TOML, or no file."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([Fault("", error.strerror or "cannot be read")], str(file)) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Fault("", f"not UTF-8 at byte {error.start}")], str(file)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Fault("", f"not TOML: {error}")], str(file)) from None


class Converter:
    """Converts field by field, so that one fault does not hide the next."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] = os.environ,
        regions: Iterable[str] = (),
    ) -> None:
        """Relative paths start at `folder`; `regions` are those of the sources."""
        self.folder = folder
        self.regions = frozenset(regions)
        self.environ = environ
        self.faults: list[Fault] = []

    def fault(self, key: str, message: str) -> None:
        """Notes a fault of the setting `key`."""
        self.faults.append(Fault(key, message))

    def struct(self, raw: object, type_: type[StructT], key: str) -> StructT | None:
        """Returns the table `raw` as `type_`; None if it has faults, which are noted."""
        if not isinstance(raw, dict):
            self.fault(key, f"expected a table, got {shown(raw)}")
            return None
        before = len(self.faults)
        fields = _fields(type_)
        names = [field.encode_name for field in fields]
        for name in raw:
            if name not in names:
                self.fault(f"{key}.{name}", self.unknown_key(key, name, names))
        values = {}
        for field in fields:
            where = f"{key}.{field.encode_name}"
            if field.encode_name in raw:
                values[field.name] = self.value(raw[field.encode_name], field.type, where)
            elif field.required:
                self.fault(where, "missing, and it has no default")
        if len(self.faults) > before:
            return None
        try:
            return type_(**values)
        except ValueError as error:  # from __post_init__
            self.fault(key, str(error))
            return None

    def unknown_key(self, table: str, name: str, names: list[str]) -> str:
        """Says what is wrong with a key `name` of a table that may have `names`."""
        close = difflib.get_close_matches(name, names, 1)
        return (
            f"unknown key; did you mean {close[0]}?"
            if close
            else "unknown key; expected " + ", ".join(names)
        )

    def value(self, raw: object, type_: Any, key: str) -> Any:
        """Returns `raw` as `type_`; Structs inside it are converted field by field."""
        origin, args = get_origin(type_), get_args(type_)
        if origin is UnionType and (one := _alternative(raw, args)) is not None:
            return self.value(raw, one, key)
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self.struct(raw, type_, key)
        if origin is list and isinstance(raw, list):
            return [self.value(item, args[0], f"{key}[{n}]") for n, item in enumerate(raw)]
        if origin is dict and args[0] is str and isinstance(raw, dict):
            return {name: self.value(item, args[1], f"{key}.{name}") for name, item in raw.items()}
        try:
            return msgspec.convert(raw, type_, dec_hook=self.decode)
        except (msgspec.ValidationError, ValueError) as error:
            self.fault(key, _plain(error))
            return None

    def decode(self, type_: type, raw: object) -> object:
        """Converts to types that msgspec does not know. Raises ValueError."""
        if not isinstance(raw, str):
            raise ValueError(f"expected a text, got {shown(raw)}")
        if type_ is Secret:
            return self.secret(raw)
        if type_ is ZoneInfo:
            try:
                return ZoneInfo(raw)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(
                    f"expected a time zone such as Africa/Nairobi, got {raw!r}"
                ) from None
        if type_ in (Network, Url, Age):
            return type_(raw)
        if type_ is Address:
            return Address(raw, self.regions)
        if type_ is Path:
            return self.folder / raw
        raise ValueError(f"{type_.__name__} cannot be configured")

    def secret(self, text: str) -> Secret:
        """Resolves `env:`, `file:` and `credential:`. Raises ValueError."""
        kind, colon, name = text.partition(":")
        if not colon or kind not in ("env", "file", "credential"):
            return Secret(_non_empty(text, "the text is empty"), in_place=True)
        if kind == "env":
            if name not in self.environ:
                raise ValueError(f"the environment variable {name} is not set")
            value = self.environ[name]
            return Secret(_non_empty(value, f"the environment variable {name} is empty"))
        if kind == "credential":
            folder = self.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ValueError("credential: needs systemd (LoadCredential=) to start the program")
            path = Path(folder) / name
        else:
            path = self.folder / name
        try:
            text = path.read_text("utf-8").rstrip("\r\n")
            return Secret(_non_empty(text, f"{path} is empty"), file=path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ValueError(f"{path}: {reason}") from None


def _alternative(raw: object, types: tuple[Any, ...]) -> Any:
    """Picks the type of a union for a value: a list for a list, a table for a table.

    None if there is no such type, or several.
    """
    kinds: dict[type, list[Any]] = {list: [], dict: [], object: []}
    for type_ in types:
        if type_ is not NoneType:
            kinds[_kind(type_)].append(type_)
    fitting = kinds[type(raw) if type(raw) in kinds else object]
    if not fitting:
        fitting = kinds[object] or kinds[dict]
    return fitting[0] if len(fitting) == 1 else None


def _kind(type_: Any) -> type:
    """Returns `list` for lists, `dict` for tables, `object` for the types of single values."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return dict
    origin = get_origin(type_)
    return origin if origin in (list, dict) else object


def _non_empty(text: str, otherwise: str) -> str:
    if not text:
        raise ValueError(f"expected a secret, but {otherwise}")
    return text


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Looks the fields up once: there may be thousands of rules."""
    return msgspec.structs.fields(type_)


def shown(raw: object) -> str:
    """Names the kind of a value, without the value: it may be a secret."""
    return {dict: "a table", list: "a list", str: "a text", bool: "a boolean"}.get(
        type(raw), "a number" if isinstance(raw, int | float) else type(raw).__name__
    )


def _plain(error: Exception) -> str:
    """Returns the message of msgspec in the words of a TOML file; one of our own as it is."""
    if error.__cause__ is not None:  # of `Converter.decode`
        return str(error.__cause__)
    message = (
        str(error).replace("`", "").replace("Expected", "expected").replace("Invalid", "invalid")
    )
    for python, toml in (
        ("str", "a text"),
        ("int", "an integer"),
        ("float", "a number"),
        ("array", "a list"),
        ("bool", "true or false"),
        ("object", "a table"),
    ):
        message = re.sub(rf"\b{python}\b", toml, message)
    return message
