"""Contacts and groups of a Text-Connect account."""

from __future__ import annotations

import re

import msgspec

_NUMBER = re.compile(r"\+?[0-9]{9,15}")


class Contact(msgspec.Struct, kw_only=True):
    """Somebody in the address book."""

    name: str
    number: str
    email: str
    groups: set[str]


class AddressBook:
    """The contacts; groups exist from the first contact in them until they are deleted."""

    def __init__(self) -> None:
        self._contacts: list[Contact] = []
        self._groups: set[str] = set()

    @property
    def everybody(self) -> list[str]:
        """Returns all numbers."""
        return [contact.number for contact in self._contacts]

    def of_group(self, name: str) -> list[str] | None:
        """Returns the numbers in a group; None if there is no such group."""
        if name not in self._groups:
            return None
        return [contact.number for contact in self._contacts if name in contact.groups]

    def add(self, row: list[str], *, overwrite: bool, ignore: bool) -> tuple[str, str | None]:
        """Takes `name,number,email,group1,…`; returns the result in the provider's words.

        Of a name or number that is there already, `overwrite` replaces the contact, and
        `ignore` adds another.
        """
        name, number, email, *groups = [*(field.strip() for field in row), "", "", ""]
        if not name or not _NUMBER.fullmatch(number):
            return "Failed", "no name" if not name else "the number is not valid"
        same_name = [contact for contact in self._contacts if contact.name == name]
        same_number = [contact for contact in self._contacts if contact.number == number]
        if overwrite:
            replaced = same_name + same_number
            self._contacts = [each for each in self._contacts if each not in replaced]
        elif not ignore and (same_name or same_number):
            return f"Duplicate {'Name' if same_name else 'Number'}", None
        joined = set(filter(None, groups))
        valid = not email or "@" in email
        kept = email if valid else ""
        self._contacts.append(Contact(name=name, number=number, email=kept, groups=joined))
        self._groups |= joined
        return ("Success", None) if valid else ("Partial", "the e-mail address is not valid")

    def clear(self) -> None:
        """Removes all contacts; groups stay."""
        self._contacts.clear()

    def clear_groups(self) -> None:
        """Removes all groups; contacts stay."""
        for name in list(self._groups):
            self.delete(name)

    def empty(self, name: str) -> bool:
        """Takes all contacts out of a group; returns True if there is one."""
        for contact in self._contacts:
            contact.groups.discard(name)
        return name in self._groups

    def delete(self, name: str) -> bool:
        """Removes a group; returns True if there was one."""
        there = self.empty(name)
        self._groups.discard(name)
        return there
