"""The byte vectors printed in docs/protocols/kad.md, and that the page says what the code does."""

from __future__ import annotations

import re

import pytest
from peerstack_kad.codec import Codec
from peerstack_kad.codec_parts import MAX_PROVIDED, MAX_PROVIDERS
from peerstack_kad.lookup import MAX_CLOSER as MAX_LEARNED
from peerstack_kad.lookup import LookupRules
from peerstack_kad.pb.kad_pb2 import Message

from peerstack.dht.pb.parameters_pb2 import NetworkParameters
from peerstack.dht.replica.limits import MAX_CLOSER, MAX_MESSAGE_BYTES, MAX_NAMED, MAX_PAGE_BYTES, MAX_PAGE_RECORDS
from peerstack.rpc.pb.data_pb2 import Status
from peerstack.rpc.streams import RpcLimits
from tests.unit.kad.kad_vectors import EXCHANGES, PAGE, Exchange, encoded, read_vectors

TEXT = PAGE.read_text(encoding="utf-8")
SHARED = (PAGE.parent / "servers.md").read_text(encoding="utf-8")
VECTORS = read_vectors(TEXT)


def numbers(pattern: str, text: str) -> dict[str, int]:
    """What a pattern finds: names and their numbers."""
    found = [match.groupdict() or {"name": match[1], "number": match[2]} for match in re.finditer(pattern, text)]
    return {each["name"]: int(each["number"]) for each in found}


def test_the_page_has_every_exchange() -> None:
    assert [vector["exchange"] for vector in VECTORS] == [name for name, *_ in EXCHANGES]


@pytest.mark.parametrize("number", range(len(EXCHANGES)), ids=[name for name, *_ in EXCHANGES])
def test_our_messages_are_the_printed_bytes(number: int) -> None:
    request, answer = encoded(number + 1, EXCHANGES[number])
    assert (request.hex(), answer.hex()) == (VECTORS[number]["request"], VECTORS[number]["answer"])


@pytest.mark.parametrize("number", range(len(EXCHANGES)), ids=[name for name, *_ in EXCHANGES])
def test_the_printed_bytes_are_read_as_what_they_mean(number: int) -> None:
    exchange: Exchange = EXCHANGES[number]
    _, request, reply, parameters = exchange
    codec = Codec()
    read = codec.decode_request(bytes.fromhex(VECTORS[number]["request"]))
    answer = codec.decode_reply(bytes.fromhex(VECTORS[number]["answer"]), request)
    assert (read.request_id, answer.request_id, answer.parameters) == (number + 1, number + 1, parameters)
    assert repr(read.request) == repr(request)
    assert repr(answer.reply) == repr(reply)


def test_the_page_has_our_own_fields_types_and_statuses_with_their_numbers() -> None:
    fields = {field.name: field.number for field in Message.DESCRIPTOR.fields if field.number >= 1000}
    assert numbers(r"(\w+) = (1\d{3});", SHARED + TEXT) == fields
    types = "".join(text.partition("MessageType type")[2].partition("\n")[0] for text in (SHARED, TEXT))
    assert numbers(r"([A-Z_]{4,}) (\d+)\b", types) == dict(Message.MessageType.items())
    assert numbers(r"(?m)^\| (?P<number>\d) \| (?P<name>[A-Z_]+) \|", SHARED) == dict(Status.items())
    agreed = SHARED.partition("message NetworkParameters")[2]
    assert numbers(r"uint(?:32|64) (\w+) = (\d);", agreed) == {field.name: field.number for field in NetworkParameters.DESCRIPTOR.fields}


def test_the_page_has_the_bounds_that_hold() -> None:
    bounds = SHARED.split("## Bounds")[1] + TEXT.split("## Bounds")[1]
    for bound in (
        MAX_MESSAGE_BYTES,
        MAX_CLOSER,
        MAX_PROVIDERS,
        MAX_NAMED,
        MAX_PAGE_RECORDS,
        MAX_PAGE_BYTES,
        LookupRules().max_requests,
        MAX_LEARNED,
    ):
        assert re.search(rf"\b{bound:,}\b", bounds), bound
    limits = RpcLimits()
    assert f"Up to {limits.max_in_flight} requests" in SHARED
    assert f"idle for {limits.idle_s:.0f} s" in SHARED
    assert f"nothing came for {limits.served_idle_s:.0f} s" in SHARED.replace("\n", " ")
    assert f"1 to {MAX_PROVIDED:,} of 1 to 80 bytes" in TEXT
