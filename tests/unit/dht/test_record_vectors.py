"""The byte vectors printed in docs/protocols/records.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peerstack.dht.namespaces import own_key_owner, show_own_key
from peerstack.dht.records import Draft, Record, Slot
from peerstack.identity import PrivateKey

PAGE = Path(__file__).parents[3] / "docs" / "protocols" / "records.md"
WRITER = PrivateKey.from_seed(bytes(range(32)))


def read_vectors(text: str) -> list[dict[str, str]]:
    vectors = []
    for block in re.findall(r"```vector\n(.*?)```", text, re.DOTALL):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            name = line[:16].strip() or name
            fields[name] = fields.get(name, "") + line[16:].strip()
        vectors.append(fields)
    return vectors


VECTORS = read_vectors(PAGE.read_text(encoding="utf-8"))


def test_the_page_has_its_vectors() -> None:
    assert [vector["namespace"] for vector in VECTORS] == ["kv", "own"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["namespace"])
def test_signing_makes_the_printed_bytes(vector: dict[str, str]) -> None:
    draft = Draft(
        slot=Slot(vector["namespace"], bytes.fromhex(vector["key"]), bytes.fromhex(vector["subkey"])),
        value=bytes.fromhex(vector["value"]),
        version_time=int(vector["version_time"]),
        expires_at=int(vector["expires_at"]),
        remember_until=int(vector["remember_until"]),
        renewable=vector["renewable"] == "1",
    )
    record = Record.sign(draft, WRITER)
    assert record.header.hex() == vector["header"]
    assert record.digest.hex() == vector["digest"]
    assert record.position.hex() == vector["position"]
    assert record.encode().hex() == vector["record"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["namespace"])
def test_the_printed_bytes_are_read_and_verified(vector: dict[str, str]) -> None:
    record = Record.decode(bytes.fromhex(vector["record"]))
    assert record.slot == Slot(vector["namespace"], bytes.fromhex(vector["key"]), bytes.fromhex(vector["subkey"]))
    assert (record.version.time, record.expires_at) == (int(vector["version_time"]), int(vector["expires_at"]))
    assert (record.remember_until, record.renewable) == (int(vector["remember_until"]), vector["renewable"] == "1")
    assert record.value == (bytes.fromhex(vector["value"]) if record.expires_at else None)
    assert record.writer == WRITER.public_key


def test_the_own_key_is_shown_as_printed() -> None:
    key = bytes.fromhex(VECTORS[1]["key"])
    assert own_key_owner(key) == WRITER.peer_id
    assert f"`{show_own_key(key)}`" in PAGE.read_text(encoding="utf-8")
