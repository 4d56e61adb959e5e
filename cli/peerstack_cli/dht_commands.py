"""The commands under ``peerstack dht``. What they do is imported when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from peerstack_cli.arguments import Bootstrap, Dht, Key, Namespace, Subkey, Timeout, Ttl, Value
from peerstack_cli.session import Session, command

__all__ = ["dht_app"]

dht_app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Look into a DHT: lookups step by step, single peers, the table, the ring."
)

_Peer = Annotated[str, typer.Argument(metavar="PEER", help="A peer id, or an address that ends in /p2p/PEER_ID.")]
_Content = Annotated[str, typer.Argument(metavar="KEY", help="What is provided.")]


@command(dht_app)
def lookup(
    session: Session,
    key: Key,
    trace: Annotated[bool, typer.Option("--trace", help="Show every request on the way.")] = False,
    namespace: Namespace = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Find the nodes that are responsible for a key, closest first."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.lookup(session, Slot(key, namespace, None, dht, timeout, bootstrap or ()), trace=trace)


@command(dht_app)
def closest(
    session: Session,
    key: Key,
    count: Annotated[int, typer.Option("--count", "-c", min=1, metavar="N", help="How many.")] = 20,
    namespace: Namespace = None,
    dht: Dht = None,
) -> None:
    """Show the peers closest to a key that the daemon knows by itself."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.closest(session, Slot(key, namespace, None, dht, None, ()), count=count)


@command(dht_app)
def table(session: Session, dht: Dht = None) -> None:
    """Show the daemon's routing table."""
    from peerstack_cli import dht as commands

    commands.table(session, dht)


@command(dht_app)
def ring(session: Session, dht: Dht = None) -> None:
    """Show the ring as the daemon sees it; without --dht that of the DHT chord."""
    from peerstack_cli import dht as commands

    commands.ring(session, dht)


@command(dht_app)
def forget(session: Session, dht: Dht = None) -> None:
    """Have the daemon count no server any more that does not answer now: they do not come back. Say it to each daemon that is left."""
    from peerstack_cli import dht as commands

    commands.forget(session, dht)


@command(dht_app)
def ping(session: Session, peer: _Peer, dht: Dht = None, timeout: Timeout = None, bootstrap: Bootstrap = None) -> None:
    """Ask one peer whether it serves the DHT."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.ping(session, peer, Slot("", None, None, dht, timeout, bootstrap or ()))


@command(dht_app)
def find_node(
    session: Session,
    peer: _Peer,
    key: Key,
    namespace: Namespace = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Ask one peer for the peers closest to a key that it knows."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.find_node(session, peer, Slot(key, namespace, None, dht, timeout, bootstrap or ()))


@command(dht_app)
def find_value(
    session: Session,
    peer: _Peer,
    key: Key,
    namespace: Namespace = None,
    subkey: Subkey = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Ask one peer for the value that it holds; it is written to stdout byte for byte."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.find_value(session, peer, Slot(key, namespace, subkey, dht, timeout, bootstrap or ()))


@command(dht_app)
def store(
    session: Session,
    peer: _Peer,
    key: Key,
    value: Value,
    ttl: Ttl = None,
    namespace: Namespace = None,
    subkey: Subkey = None,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Have one peer store a value. It carries no promise, and nothing is looked up first: `peerstack put` is the one to use."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.store(session, peer, Slot(key, namespace, subkey, dht, timeout, bootstrap or ()), value, ttl=ttl)


@command(dht_app)
def provide(session: Session, key: _Content, dht: Dht = None, timeout: Timeout = None) -> None:
    """Announce that this node has what a key names, until the daemon ends."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.provide(session, Slot(key, None, None, dht, timeout, ()))


@command(dht_app)
def providers(
    session: Session,
    key: _Content,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many at most.")] = 20,
    dht: Dht = None,
    timeout: Timeout = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Find who has what a key names."""
    from peerstack_cli import dht as commands
    from peerstack_cli.store import Slot

    commands.providers(session, Slot(key, None, None, dht, timeout, bootstrap or ()), limit=limit)
