"""A plugin's settings, as a configuration file gives them, made into its ``Config`` dataclass and checked field by field."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

from peerstack.errors import ConfigError

__all__ = ["build_config"]


def build_config(where: str, config_class: type, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Any:
    """Make a config object of settings.

    Integers pass as floats, lists as tuples, texts as members of an enum by value, mappings as nested dataclasses.

    Args:
        where: The table the settings stand in, such as ``protocols.kad``; errors begin with it.
        config_class: A dataclass.
        settings: By field name.
        defaults: Values for fields that the class has and the settings leave out.

    Raises:
        ConfigError: A key is unknown or missing, a value has the wrong type, or the class refuses the combination.
    """
    if not dataclasses.is_dataclass(config_class):
        raise ConfigError(f"{where}: {config_class.__qualname__} is no dataclass, so it cannot be configured")
    fields = {field.name: field for field in dataclasses.fields(config_class) if field.init}
    unknown = [key for key in settings if key not in fields]
    if unknown:
        raise ConfigError(f"{where}: unknown setting {unknown[0]!r}: choose from {', '.join(sorted(fields)) or '(none)'}")
    hints = typing.get_type_hints(config_class)
    given = {name: value for name, value in (defaults or {}).items() if name in fields} | dict(settings)
    arguments = {name: _convert(f"{where}.{name}", hints[name], value) for name, value in given.items()}
    try:
        return config_class(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: these settings cannot be used: {error}") from error


def _convert(where: str, hint: Any, value: Any) -> Any:
    """The value in the type a field asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (hint is None and value is None):
        return value
    if origin in (Union, types.UnionType):
        return _first_fitting(where, hint, arguments, value)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise _wrong(where, hint, value)
    if origin is not None:
        return _convert_container(where, hint, origin, arguments, value)
    if isinstance(hint, type):
        return _convert_plain(where, hint, value)
    raise ConfigError(f"{where}: fields of type {_show(hint)} cannot be set by a configuration")


def _first_fitting(where: str, hint: Any, choices: tuple[Any, ...], value: Any) -> Any:
    exact = [choice for choice in choices if choice is type(value)]
    for choice in [*exact, *choices]:
        try:
            return None if choice is type(None) and value is None else _convert(where, choice, value)
        except ConfigError:
            continue
    raise _wrong(where, hint, value)


def _convert_container(where: str, hint: Any, origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {_convert(where, arguments[0], key): _convert(f"{where}.{key}", arguments[1], item) for key, item in value.items()}
    if not isinstance(value, list | tuple):
        raise _wrong(where, hint, value)
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _wrong(where, hint, value)
        return tuple(_convert(where, each, item) for each, item in zip(arguments, value, strict=True))
    items = [_convert(where, arguments[0], item) for item in value]
    if origin in (list, Sequence):
        return items
    if isinstance(origin, type) and issubclass(origin, tuple | set | frozenset):
        return origin(items)
    raise ConfigError(f"{where}: fields of type {_show(hint)} cannot be set by a configuration")


def _convert_plain(where: str, hint: type, value: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            raise _wrong(where, hint, value) from None
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build_config(where, hint, value)
    raise _wrong(where, hint, value)


def _wrong(where: str, hint: Any, value: Any) -> ConfigError:
    return ConfigError(f"{where} must be {_show(hint)}, not {value!r}")


def _show(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in hint)
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and typing.get_origin(hint) is None else str(hint).replace("typing.", "")
