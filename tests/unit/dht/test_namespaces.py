from __future__ import annotations

import hashlib

import pytest

from peerstack.dht.clock import MICROSECONDS
from peerstack.dht.namespaces import (
    ContentHash,
    LatestVersion,
    Namespaces,
    OwnKeys,
    own_key,
    own_key_owner,
    parse_own_key,
    show_own_key,
)
from peerstack.dht.order import merge
from peerstack.dht.records import Draft, Record, Slot
from peerstack.errors import ConfigError, InvalidRecord
from peerstack.identity import PeerId, PrivateKey

ALICE, BOB = (PrivateKey.from_seed(bytes([n]) * 32) for n in (1, 2))
NOW = 1_800_000_000 * MICROSECONDS
VALUE = b"content"
DIGEST = hashlib.sha256(VALUE).digest()


def write(slot: Slot, value: bytes = VALUE, *, by: PrivateKey = ALICE, at: int = NOW, expires_at: int = NOW + 100) -> Record:
    draft = Draft(slot=slot, value=value, version_time=at, expires_at=expires_at, remember_until=max(at, expires_at) + 1000)
    return Record.sign(draft, by)


def test_anyone_may_overwrite_in_kv() -> None:
    kv = Namespaces()["kv"]
    old, new = write(Slot("kv", b"k")), write(Slot("kv", b"k"), b"other", by=BOB, at=NOW + 1)
    kv.validate(new, NOW)
    assert kv.merge(old, new) is new
    assert kv.deletable
    assert kv.forget_at(new) == new.remember_until
    assert not kv.satisfies(new, old)


@pytest.mark.parametrize("rest", [b"", b"/rest", bytes(90)])
def test_own_keys_are_written_by_the_peer_they_start_with_alone(rest: bytes) -> None:
    slot = Slot("own", own_key(ALICE.peer_id, rest))
    OwnKeys().validate(write(slot), NOW)
    with pytest.raises(InvalidRecord, match="starts with its writer's peer id"):
        OwnKeys().validate(write(slot, by=BOB), NOW)


def test_a_key_that_merely_contains_or_almost_starts_with_the_id_is_not_own() -> None:
    peer = ALICE.peer_id.to_bytes()
    for key in (b"", b"x" + peer, peer[:-1], str(ALICE.peer_id).encode()):
        with pytest.raises(InvalidRecord):
            OwnKeys().validate(write(Slot("own", key)), NOW)


def test_only_the_owner_may_delete_an_own_key() -> None:
    slot = Slot("own", own_key(ALICE.peer_id, b"/x"))
    OwnKeys().validate(write(slot, b"", expires_at=0), NOW)
    with pytest.raises(InvalidRecord):
        OwnKeys().validate(write(slot, b"", expires_at=0, by=BOB), NOW)


def test_a_hash_key_is_the_digest_of_its_value() -> None:
    rules = ContentHash()
    rules.validate(write(Slot("hash", DIGEST)), NOW)
    for record in (
        write(Slot("hash", DIGEST), b"other content"),
        write(Slot("hash", b"k" * 32)),
        write(Slot("hash", DIGEST, b"subkey")),
        write(Slot("hash", DIGEST)).without_value(),
        write(Slot("hash", hashlib.sha256(b"").digest()), b"", expires_at=0),
    ):
        with pytest.raises(InvalidRecord):
            rules.validate(record, NOW)
    assert not rules.deletable


def test_of_a_hash_key_the_latest_expiry_wins_whoever_wrote_last() -> None:
    rules, slot = ContentHash(), Slot("hash", DIGEST)
    long, short = write(slot, expires_at=NOW + 900), write(slot, expires_at=NOW + 100, by=BOB, at=NOW + 50)
    assert merge(long, short) is short, "by version it would be the other one"
    assert rules.merge(long, short) is long is rules.merge(short, long)
    assert rules.satisfies(long, short)
    assert rules.forget_at(long) == long.expires_at


def test_an_application_brings_its_own_namespace() -> None:
    namespaces = Namespaces([LatestVersion("chat")])
    assert namespaces.names == ("kv", "own", "hash", "chat")
    assert "chat" in namespaces
    assert namespaces["chat"].name == "chat"


@pytest.mark.parametrize("names", [["kv"], ["a", "a"], ["no/slash"], [""]])
def test_a_name_that_is_taken_or_none_is_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError):
        Namespaces(LatestVersion(name) for name in names)


def test_a_namespace_that_is_not_served_is_named() -> None:
    with pytest.raises(InvalidRecord, match="'nope' is not served here"):
        Namespaces()["nope"]


@pytest.mark.parametrize("rest", ["", "profile", "a/b", "ä"])
def test_the_text_form_of_own_keys(rest: str) -> None:
    text = f"{ALICE.peer_id}/{rest}"
    key = parse_own_key(text)
    assert key == ALICE.peer_id.to_bytes() + rest.encode()
    assert own_key_owner(key) == ALICE.peer_id
    assert show_own_key(key) == text


def test_the_text_form_takes_hashed_peer_ids_and_escapes_what_is_no_text() -> None:
    peer = PeerId(b"\x12\x20" + bytes(32))
    assert parse_own_key(f"{peer}/x") == peer.to_bytes() + b"x"
    assert show_own_key(own_key(peer, b"\xffx")) == f"{peer}/\\xffx"


@pytest.mark.parametrize("text", ["", "/x", "nobody/x", str(ALICE.peer_id)])
def test_text_that_is_no_own_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match="<peer id>/<rest>"):
        parse_own_key(text)


@pytest.mark.parametrize("key", [b"", b"\x00", b"\x00\x24short", b"plain text key"])
def test_a_key_without_an_owner_says_so(key: bytes) -> None:
    with pytest.raises(InvalidRecord, match="peer id"):
        show_own_key(key)
