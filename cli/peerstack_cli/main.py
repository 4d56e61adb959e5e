"""The entry point: runs a command and turns whatever ends it into words and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from peerstack.errors import PeerstackError
from peerstack_cli.exit_codes import ExitCode
from peerstack_cli.failures import CommandError
from peerstack_cli.output import Output

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``peerstack`` with these arguments, or the process' own; returns the exit code."""
    from peerstack_cli.app import app

    given = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(json=_wants_json(given))
    try:
        code = typer.main.get_command(app).main(args=given, prog_name="peerstack", standalone_mode=False)
    except (CommandError, PeerstackError) as error:
        return output.fail(error)
    except (KeyboardInterrupt, typer.Abort):
        return output.fail(CommandError("interrupted", "interrupted"))
    except BrokenPipeError:
        return _reader_gone()
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        if not _is_usage_error(error):
            return _crashed(output, error)
        return output.fail(_usage(error))
    if code == ExitCode.INTERRUPTED:  # what typer makes of Ctrl-C
        return output.fail(CommandError("interrupted", "interrupted"))
    return code if isinstance(code, int) else ExitCode.OK


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` is among the options, even where they cannot all be understood."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _is_usage_error(error: Exception) -> bool:
    """Whether typer refused the command line. Its own base class of these is public only as an ancestor of this one."""
    return isinstance(error, typer.BadParameter.__mro__[1:-3])


def _usage(error: Exception) -> CommandError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "peerstack"
    return CommandError("usage", str(getattr(error, "format_message", error.__str__)()), f"`{command} --help` says what it takes")


def _reader_gone() -> ExitCode:
    """Whoever read our output has stopped: end quietly, and let nothing be flushed into the void."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILURE


def _crashed(output: Output, error: Exception) -> ExitCode:
    import traceback

    if not output.json:
        output.say("".join(traceback.format_exception(error)).rstrip())
    return output.fail(error)
