"""The options that every command takes, before the command's name or after it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from peerstack_cli.flags import LogFlags
from peerstack_cli.home import Home, default_home
from peerstack_cli.output import Output

if TYPE_CHECKING:
    from peerstack_cli.client import Client

__all__ = ["FormatOption", "HomeOption", "JsonOption", "LevelOption", "Session", "command", "remember"]

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The node's folder (PEERSTACK_HOME; by default in the user's data folder).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON document; errors too, on stderr.")]
LevelOption = Annotated[
    str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error; by subsystem: wire=debug,kad=info.")
]
FormatOption = Annotated[str | None, typer.Option("--log-format", metavar="FORMAT", help="text, or json (one document a line).")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What a command runs with.

    Attributes:
        home: The node's folder.
        explicit_home: Whether the command line named it.
        output: Where results and talk go.
        log: What was said of logging.
    """

    home: Home
    explicit_home: bool
    output: Output
    log: LogFlags

    def client(self) -> Client:
        """A client of the daemon in this home."""
        from peerstack_cli.client import Client

        return Client(self.home)

    def configure_logging(self) -> None:
        """Log as the options, the environment and the configuration say: of a command that is no daemon, errors only by default."""
        from peerstack_cli import logs
        from peerstack_cli.config_file import read_config
        from peerstack_cli.settings import resolve_log

        logs.configure(resolve_log(self.log, os.environ, read_config(self.home.config), default_level="error"))


_COMMON: Final = {"home": HomeOption, "json": JsonOption, "log_level": LevelOption, "log_format": FormatOption}


def remember(context: typer.Context, **options: Any) -> None:
    """Keep what was given before the command's name."""
    context.obj = options


def command(app: typer.Typer) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a function that takes a `Session` and its own options as a command that takes the common options too."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        def run(context: typer.Context, **given: Any) -> None:
            common = {name: given.pop(name) for name in _COMMON}
            function(_session(context.obj or {}, common), **given)

        own = [*inspect.signature(function, eval_str=True).parameters.values()][1:]
        kinds = inspect.Parameter
        parameters = [
            kinds("context", kinds.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *own,
            *(
                kinds(name, kinds.KEYWORD_ONLY, annotation=kind, default=False if name == "json" else None)
                for name, kind in _COMMON.items()
            ),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name=function.__name__.rstrip("_").replace("_", "-"), help=inspect.getdoc(function))(run)
        return function

    return register


def _session(before: dict[str, Any], after: dict[str, Any]) -> Session:
    """Join both sides; what stands after the command wins."""
    merged = {name: value if value not in (None, False) else before.get(name) for name, value in after.items()}
    home = merged["home"]
    return Session(
        home=Home((home or default_home(os.environ)).absolute()),
        explicit_home=home is not None,
        output=Output(json=bool(merged["json"])),
        log=LogFlags(level=merged["log_level"], format=merged["log_format"]),
    )
