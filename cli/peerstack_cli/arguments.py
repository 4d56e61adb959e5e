"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Bootstrap", "Dht", "Key", "Namespace", "Subkey", "Target", "Timeout", "Ttl", "Value"]

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key. In namespace own: PEER_ID/REST; in hash: the value's SHA-256 in hex.")]
Target = Annotated[str, typer.Argument(metavar="ADDR", help="An address that ends in /p2p/PEER_ID, or a peer id.")]
Dht = Annotated[str | None, typer.Option("--dht", metavar="NAME", help="kad or chord; by default the first one enabled.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="Who may write: kv (anyone, the default), own (you alone), hash.")
]
Subkey = Annotated[str | None, typer.Option("--subkey", metavar="TEXT", help="Which record of the key's set.")]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="For the whole call: 5, 500ms, 1m.")]
Bootstrap = Annotated[
    list[str] | None,
    typer.Option("--bootstrap", metavar="ADDR", help="Use no daemon: join through this peer for one operation. May be repeated."),
]
Value = Annotated[str, typer.Argument(metavar="VALUE", help="The value; @FILE reads a file, - stdin; @@TEXT is the text @TEXT.")]
Ttl = Annotated[str | None, typer.Option("--ttl", metavar="TIME", help="It ends after this: 90, 30m, 1h. Default: 48h, renewed.")]
