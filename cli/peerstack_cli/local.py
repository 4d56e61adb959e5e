"""Commands that need no daemon."""

from __future__ import annotations

from peerstack import keyfile
from peerstack.errors import ConfigError
from peerstack.identity import PrivateKey
from peerstack_cli.config_file import TEMPLATE
from peerstack_cli.failures import CommandError
from peerstack_cli.session import Session

__all__ = ["init", "show_id"]


def init(session: Session) -> None:
    """Make a home: the folder, a configuration to edit, a new identity. Overwrites nothing.

    Raises:
        ConfigError: There is one already, or it cannot be written.
    """
    home = session.home
    home.create()
    for path in (home.identity, home.config):
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} exists and is not overwritten: move it away or choose another --home")
    key = PrivateKey.generate()
    keyfile.save(home.identity, key)
    try:
        with home.config.open("x") as file:
            file.write(TEMPLATE)
    except OSError as error:
        raise ConfigError(f"{home.config} cannot be written: {error.strerror or error}") from error
    peer_id = str(key.peer_id)
    session.output.document(
        {"peer_id": peer_id, "home": str(home.folder), "config": str(home.config), "identity": str(home.identity)}, peer_id
    )


def show_id(session: Session) -> None:
    """Show who this home is, and where the daemon can be reached if it runs.

    Raises:
        CommandError: There is no identity (``bad_config``).
        KeyFileError: It cannot be used.
    """
    home = session.home
    if not home.identity.exists():
        raise CommandError("bad_config", f"there is no identity in {home.folder}", f"make one: peerstack init --home {home.folder}")
    key = keyfile.load(home.identity)
    try:
        addresses: list[str] | None = session.client().get("/v1/status")["addrs"]
    except CommandError as error:
        if error.code != "not_running":
            raise
        addresses = None
    document = {"peer_id": str(key.peer_id), "key_type": key.type.name.lower(), "running": addresses is not None, "addrs": addresses or []}
    session.output.document(document, "\n".join([str(key.peer_id), *(addresses or [])]))
