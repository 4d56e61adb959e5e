"""The daemon: a host with its plugins, answering the API until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import suppress
from typing import Final

from peerstack import Host, keyfile
from peerstack.addresses import Address
from peerstack.config import preset
from peerstack.dht import Dht
from peerstack.errors import ConfigError, InvalidAddress
from peerstack.host import entry_points
from peerstack.identity import PrivateKey
from peerstack_cli import logs
from peerstack_cli.config_file import read_config
from peerstack_cli.extra import require_extra
from peerstack_cli.flags import DaemonFlags
from peerstack_cli.home import Home
from peerstack_cli.output import Output
from peerstack_cli.settings import DaemonSettings, resolve_daemon

__all__ = ["run"]

_logger = logging.getLogger(__name__)

_LEAVE_S: Final = 8.0  # for the DHTs to hand over what they store
_HARD_STOP_S: Final = 25  # for all of the graceful shutdown; then the operating system ends the process


def run(home: Home, flags: DaemonFlags, output: Output) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        CommandError: The extra is not installed, or a daemon runs in this home already.
        ConfigError: The configuration, a key file's permissions or a plugin stand against it.
        ListenError: An address cannot be listened on.
    """
    require_extra()
    installed = entry_points.installed(entry_points.PROTOCOLS)
    for text in (*flags.listen, *flags.bootstrap):
        Address.parse(text)  # a mistake in a flag is one of usage ...
    settings = resolve_daemon(flags, os.environ, read_config(home.config), installed.__contains__)
    logs.configure(settings.log)
    home.create()
    with home.locked(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        identity = keyfile.load_or_create(home.identity)
        runner.run(_serve(home, identity, settings, output))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.Loop
    return None


async def _serve(home: Home, identity: PrivateKey, settings: DaemonSettings, output: Output) -> None:
    from peerstack_cli.api import Api, serve

    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, task, number)
    try:
        async with _host(home, identity, settings) as host:
            with home.bound_socket(os.environ) as bound:
                async with serve(Api(host, home.folder), bound):
                    _announce(host, str(bound.getsockname()), output)
                    await _until_told(task)
            await _leave(host)
    except asyncio.CancelledError:
        _logger.info("stopped before it was ready")
    else:
        _logger.info("stopped")


def _host(home: Home, identity: PrivateKey, settings: DaemonSettings) -> Host:
    try:
        return Host(
            identity=identity,
            listen=settings.listen,
            bootstrap=settings.bootstrap,
            protocols=settings.protocols,
            config=preset(settings.preset, protocol_settings=settings.protocol_settings, data_folder=str(home.folder)),
        )
    except InvalidAddress as error:  # ... anywhere else one of configuration
        raise ConfigError(f"listen or bootstrap: {error}") from error


async def _leave(host: Host) -> None:
    """Hand over what the DHTs store; what goes wrong is logged and stops nobody."""
    dhts = {name: plugin for name, plugin in host.plugins.items() if isinstance(plugin, Dht)}
    outcomes = await asyncio.gather(*(dht.leave(timeout=_LEAVE_S) for dht in dhts.values()), return_exceptions=True)
    for name, outcome in zip(dhts, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            _logger.warning("%s could not leave in order: %s", name, outcome)
        else:
            level = logging.INFO if outcome.complete or not outcome.peers else logging.WARNING
            done = f"{outcome.handed_over} of {outcome.records} records handed over to {len(outcome.peers)} peers"
            _logger.log(level, "%s left: %s", name, done)


def _stop(task: asyncio.Task[None], number: signal.Signals) -> None:
    """Begin to stop. A second signal finds the operating system's defaults, and so does a shutdown that takes too long."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(each)
    signal.alarm(_HARD_STOP_S)
    _logger.info("%s: stopping", number.name)
    task.cancel()


async def _until_told(task: asyncio.Task[None]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        task.uncancel()


def _announce(host: Host, api: str, output: Output) -> None:
    peer_id, addresses = str(host.peer_id), [str(address) for address in host.addrs]
    listening = "".join(f"Listening: {address}\n" for address in addresses)
    document = {"event": "ready", "peer_id": peer_id, "addrs": addresses, "api": api}
    output.line(json.dumps(document) if output.json else f"Peer ID: {peer_id}\n{listening}API: {api}\nReady")
