"""What a command asks for, as JSON: read and checked before anything is done."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection, Mapping
from typing import Any

from peerstack_cli.failures import CommandError

__all__ = ["Request"]


class Request:
    """The fields of one request. What is absent or null is None."""

    def __init__(self, fields: object, *, allowed: Collection[str]) -> None:
        """Take a JSON document.

        Args:
            fields: What was sent.
            allowed: Names of fields; bytes may also come as ``<name>_base64``.

        Raises:
            CommandError: It is no object, or a field is unknown (``usage``).
        """
        if not isinstance(fields, Mapping):
            raise CommandError("usage", "a request is a JSON object")
        for name in fields:
            if name not in allowed and name.removesuffix("_base64") not in allowed:
                raise CommandError("usage", f"unknown field {name!r}: choose from {', '.join(allowed)}")
        self._fields: Mapping[str, Any] = fields

    def text(self, name: str) -> str | None:
        """A text."""
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise CommandError("usage", f"{name} must be a text, not {value!r}")
        return value

    def required_text(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise CommandError("usage", f"{name} is missing")
        return value

    def number(self, name: str) -> float | None:
        """A finite number, above zero."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise CommandError("usage", f"{name} must be a number above zero, not {value!r}")
        return value

    def count(self, name: str) -> int | None:
        """A whole number from 1."""
        value = self.number(name)
        if value is not None and not isinstance(value, int):
            raise CommandError("usage", f"{name} must be a whole number, not {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """Yes or no; absent is no."""
        value = self._fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise CommandError("usage", f"{name} must be true or false, not {value!r}")
        return bool(value)

    def ack(self, name: str) -> Any:
        """``majority``, ``one``, ``all`` or a whole number from 1."""
        value = self._fields.get(name)
        if isinstance(value, str):
            if value in ("majority", "one", "all"):
                return value
            raise CommandError("usage", f"{name} must be majority, one, all or a number, not {value!r}")
        return self.count(name)

    def data(self, name: str) -> bytes | None:
        """Bytes: the field as text, or ``<name>_base64``."""
        text = self.text(name)
        encoded = self.text(f"{name}_base64")
        if text is not None and encoded is not None:
            raise CommandError("usage", f"{name} and {name}_base64 exclude each other")
        if encoded is None:
            return None if text is None else text.encode(errors="surrogatepass")
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CommandError("usage", f"{name}_base64 is no base64: {error}") from error

    def required_data(self, name: str) -> bytes:
        """Bytes that must be there."""
        value = self.data(name)
        if value is None:
            raise CommandError("usage", f"{name} (or {name}_base64) is missing")
        return value
