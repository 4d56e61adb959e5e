"""The commands. What they do is imported when they run: ``--help`` needs none of it."""

from __future__ import annotations

from typing import Annotated

import typer

from peerstack_cli.arguments import Bootstrap, Dht, Key, Namespace, Subkey, Target, Timeout, Ttl, Value
from peerstack_cli.dht_commands import dht_app
from peerstack_cli.session import FormatOption, HomeOption, JsonOption, LevelOption, Session, command, remember

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)
app.add_typer(dht_app, name="dht")


def _show_version(value: bool) -> None:
    if value:
        from peerstack_cli.output import Output
        from peerstack_cli.version import version

        Output().line(f"peerstack {version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    home: HomeOption = None,
    json: JsonOption = False,
    log_level: LevelOption = None,
    log_format: FormatOption = None,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """A libp2p node: run it, connect it, put and get values. The options below may also stand after a command."""
    remember(context, home=home, json=json, log_level=log_level, log_format=log_format)


@command(app)
def init(session: Session) -> None:
    """Make config.toml and identity.key; print the peer id."""
    from peerstack_cli import local

    local.init(session)


@command(app)
def daemon(
    session: Session,
    preset: Annotated[str | None, typer.Option("--preset", metavar="NAME", help="local (one machine), lan or wan (the default).")] = None,
    listen: Annotated[list[str] | None, typer.Option("--listen", metavar="ADDR", help="Where to listen. May be repeated.")] = None,
    bootstrap: Annotated[
        list[str] | None, typer.Option("--bootstrap", metavar="ADDR", help="A peer to join through. May be repeated.")
    ] = None,
) -> None:
    """Run a node in the foreground until SIGTERM or Ctrl-C."""
    from peerstack_cli.daemon import run
    from peerstack_cli.flags import DaemonFlags

    flags = DaemonFlags(preset=preset, listen=listen or (), bootstrap=bootstrap or (), log=session.log)
    run(session.home, flags, session.output)


@command(app)
def id_(session: Session) -> None:
    """Show the peer id, and the addresses where the daemon runs."""
    from peerstack_cli import local

    local.show_id(session)


@command(app)
def status(session: Session) -> None:
    """Show how the daemon is."""
    from peerstack_cli import remote

    remote.status(session)


@command(app)
def peers(session: Session) -> None:
    """List the connected peers."""
    from peerstack_cli import remote

    remote.peers(session)


@command(app)
def connect(session: Session, target: Target, timeout: Timeout = None) -> None:
    """Connect to a peer."""
    from peerstack_cli import remote

    remote.connect(session, target, timeout)


@command(app)
def disconnect(session: Session, target: Target) -> None:
    """Close every connection to a peer."""
    from peerstack_cli import remote

    remote.disconnect(session, target)


@command(app)
def ping(
    session: Session,
    target: Target,
    count: Annotated[int, typer.Option("--count", "-c", min=1, metavar="N", help="How many.")] = 3,
    interval: Annotated[str, typer.Option("--interval", "-i", metavar="TIME", help="Pause between them.")] = "1s",
    timeout: Timeout = None,
) -> None:
    """Measure the round trip to a peer."""
    from peerstack_cli import remote

    remote.ping(session, remote.PingOptions(target=target, count=count, interval=interval, timeout=timeout))


@command(app)
def put(
    session: Session,
    key: Key,
    value: Value,
    ttl: Ttl = None,
    ack: Annotated[str | None, typer.Option("--ack", metavar="N", help="Who must have stored it: majority, one, all or a number.")] = None,
    namespace: Namespace = None,
    subkey: Subkey = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Write a value. One that starts with a dash needs -- before the key."""
    from peerstack_cli import store

    store.put(session, store.Slot(key, namespace, subkey, dht, timeout, bootstrap or ()), value, ttl=ttl, ack=ack)


@command(app)
def get(
    session: Session,
    key: Key,
    quorum: Annotated[int | None, typer.Option("--quorum", min=1, metavar="N", help="Authoritative answers to insist on.")] = None,
    namespace: Namespace = None,
    subkey: Subkey = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Read a value; it is written to stdout byte for byte."""
    from peerstack_cli import store

    store.get(session, store.Slot(key, namespace, subkey, dht, timeout, bootstrap or ()), quorum=quorum)


@command(app)
def delete(
    session: Session,
    key: Key,
    namespace: Namespace = None,
    subkey: Subkey = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Delete a value."""
    from peerstack_cli import store

    store.delete(session, store.Slot(key, namespace, subkey, dht, timeout, bootstrap or ()))


@command(app)
def demo(session: Session, dht: Dht = None) -> None:
    """Run seven nodes: one is killed, one leaves, every value stays."""
    from peerstack_cli import demo

    demo.run(session, dht or "kad")
