from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from peerstack.addresses import Address
from peerstack.config import PeersConfig
from peerstack.host.peerbook import PeerBook
from peerstack.host.peerbook_file import PeerBookFile
from peerstack.identity import PeerId

A, B = (Address.parse(f"/ip4/192.0.2.{number}/tcp/1") for number in (1, 2))


def _peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


class _Run:
    """One run of a host: its monotonic clock starts somewhere else each time."""

    def __init__(self, folder: Path, *, monotonic: float, wall: float) -> None:
        self.monotonic, self.wall = monotonic, wall
        self.book = PeerBook(PeersConfig(), lambda: self.monotonic)
        self.file = PeerBookFile(str(folder), clock=lambda: self.monotonic, wall_clock=lambda: self.wall)

    def save(self) -> None:
        data = self.file.encode(self.book)
        assert data is not None
        self.file.write(data)


def _saved(folder: Path) -> _Run:
    run = _Run(folder, monotonic=50, wall=1_000_000)
    run.book.add_addresses(_peer(1), [A], ttl=1000, given=True)
    run.book.worked(_peer(1), B)
    run.book.add_addresses(_peer(2), [A], ttl=10)
    run.book.meet(_peer(2))
    run.book.add_addresses(_peer(3), [A], ttl=1000)
    run.save()
    return run


def test_what_was_known_of_peers_met_is_known_after_a_restart(tmp_path: Path) -> None:
    _saved(tmp_path / "new" / "folder")
    later = _Run(tmp_path / "new" / "folder", monotonic=7, wall=1_000_100)
    assert later.file.load(later.book) == 2
    (first, worked), (second, given) = later.book.addresses(_peer(1))
    assert (first, second) == (B, A)
    assert worked.worked == 7 - 100
    assert given.given
    assert given.expires == 7 + 900
    assert later.book.addresses(_peer(2)) == [], "it had expired"
    assert later.book.find(_peer(3)) is None, "only heard of"


def test_the_file_is_private(tmp_path: Path) -> None:
    _saved(tmp_path)
    assert stat.S_IMODE((tmp_path / "peers.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    run = _saved(tmp_path)
    assert run.file.encode(run.book) is None
    run.book.worked(_peer(4), A)
    assert run.file.encode(run.book) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2, "peers": []}', b'{"version": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_torn_file_is_kept_aside_and_logged(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "peers.json").write_bytes(content)
    run = _Run(tmp_path, monotonic=0, wall=0)
    assert run.file.load(run.book) == 0
    assert (tmp_path / "peers.json.broken").read_bytes() == content
    assert not (tmp_path / "peers.json").exists()
    assert "cannot be read" in caplog.text


def test_every_cut_of_a_file_is_survived(tmp_path: Path) -> None:
    _saved(tmp_path)
    whole = (tmp_path / "peers.json").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "peers.json").write_bytes(whole[:size])
        run = _Run(tmp_path, monotonic=0, wall=1_000_000)
        assert run.file.load(run.book) == 0


def test_wrong_entries_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {"id": str(_peer(1)), "addresses": [{"address": str(A), "expires": 2000}]}
    wrong = [
        None,
        7,
        {},
        {"id": 5, "addresses": []},
        {"id": "nobody", "addresses": []},
        {"id": str(_peer(2)), "addresses": [{"address": "nowhere", "expires": 2000}]},
        {"id": str(_peer(2)), "addresses": [{"address": str(A), "expires": "soon"}]},
        {"id": str(_peer(2)), "addresses": [{"address": str(A)}]},
        {"id": str(_peer(2)), "addresses": 5},
        {"id": str(_peer(2)), "addresses": [[]]},
    ]
    (tmp_path / "peers.json").write_text(json.dumps({"version": 1, "peers": [*wrong, good]}))
    run = _Run(tmp_path, monotonic=0, wall=1000)
    assert run.file.load(run.book) == 1
    assert [address for address, _ in run.book.addresses(_peer(1))] == [A]
    assert f"passed over {len(wrong)} entries" in caplog.text


def test_times_that_no_clock_of_ours_wrote_are_not_believed(tmp_path: Path) -> None:
    entries = [
        {"id": str(_peer(number)), "addresses": [{"address": str(A), "expires": expires}]}
        for number, expires in enumerate((1e300, 1000 + 365 * 86400, float("nan"), float("inf"), -5))
    ]
    (tmp_path / "peers.json").write_text(json.dumps({"version": 1, "peers": entries}))
    run = _Run(tmp_path, monotonic=0, wall=1000)
    run.file.load(run.book)
    assert len(run.book) == 0


def test_a_disk_that_refuses_is_logged_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    run = _Run(tmp_path / "file", monotonic=0, wall=0)
    run.file.write(b"{}")
    assert "cannot save" in caplog.text
