"""The byte vectors printed in docs/protocols/chord.md, and that the page says what the code does."""

from __future__ import annotations

import re

import pytest
from peerstack_chord.codec import MAX_CLOSER, Codec
from peerstack_chord.codec_parts import MAX_ENTRIES, MAX_ERA, MAX_MEMBER_BYTES, MAX_R
from peerstack_chord.lookup_rules import LookupRules
from peerstack_chord.member_map import MAP_ENTRIES_PER_PLACE
from peerstack_chord.pb.chord_pb2 import Entry, Message
from peerstack_chord.place import MAX_INCARNATION

from tests.unit.chord.chord_vectors import EXCHANGES, PAGE, encoded
from tests.unit.kad.kad_vectors import read_vectors

TEXT = PAGE.read_text(encoding="utf-8")
SHARED = (PAGE.parent / "servers.md").read_text(encoding="utf-8")
VECTORS = read_vectors(TEXT)
NUMBERS = range(len(EXCHANGES))
NAMES = [name for name, *_ in EXCHANGES]


def numbers(pattern: str, text: str) -> dict[str, int]:
    """What a pattern finds: names and their numbers."""
    return {match[1]: int(match[2]) for match in re.finditer(pattern, text)}


def comment(field: str) -> str:
    """The line of the page that defines a field."""
    return next(line for line in TEXT.splitlines() if re.search(rf"\b{field} = \d+;", line))


def test_the_page_has_every_exchange() -> None:
    assert [vector["exchange"] for vector in VECTORS] == NAMES


@pytest.mark.parametrize("number", NUMBERS, ids=NAMES)
def test_our_messages_are_the_printed_bytes(number: int) -> None:
    request, answer = encoded(number + 1, EXCHANGES[number])
    assert (request.hex(), answer.hex()) == (VECTORS[number]["request"], VECTORS[number]["answer"])


@pytest.mark.parametrize("number", NUMBERS, ids=NAMES)
def test_the_printed_bytes_are_read_as_what_they_mean(number: int) -> None:
    _, request, reply, parameters = EXCHANGES[number]
    read = Codec().decode_request(bytes.fromhex(VECTORS[number]["request"]))
    answer = Codec().decode_reply(bytes.fromhex(VECTORS[number]["answer"]), request)
    assert (read.request_id, answer.request_id, answer.parameters) == (number + 1, number + 1, parameters)
    assert repr(read.request) == repr(request)
    assert repr(answer.reply) == repr(reply)


def test_every_type_of_the_ring_has_a_vector() -> None:
    seen = {Message.FromString(bytes.fromhex(vector[side])).type for vector in VECTORS for side in ("request", "answer")}
    assert {number for number in Message.MessageType.values() if number >= 1100} <= seen


def test_the_pages_have_the_fields_types_and_names_with_their_numbers() -> None:
    fields = {field.name: field.number for field in Message.DESCRIPTOR.fields if field.number >= 1000}
    assert numbers(r"(\w+) = (1\d{3});", SHARED + TEXT) == fields
    types = "".join(text.partition("MessageType type")[2].partition("\n")[0] for text in (SHARED, TEXT))
    assert numbers(r"([A-Z_]{4,}) (\d+)\b", types) == dict(Message.MessageType.items())
    assert numbers(r"([A-Z_]+) (\d)\b", comment("mode")) == dict(Message.Mode.items())
    assert numbers(r"([A-Z_]+) (\d)\b", comment("verdict")) == dict(Message.Verdict.items())
    assert numbers(r"([A-Z_]+) (\d)\b", comment("status")) == dict(Entry.Status.items())


def test_the_page_has_the_bounds_that_hold() -> None:
    bounds = TEXT.partition("## Bounds")[2].partition("\n## ")[0]
    rules = LookupRules()
    assert MAX_INCARNATION == MAX_ERA == 1 << 62
    for bound in (MAX_MEMBER_BYTES, MAX_R, MAX_ENTRIES, MAP_ENTRIES_PER_PLACE, MAX_CLOSER, rules.max_requests, rules.max_hops):
        assert re.search(rf"\b{bound:,}\b", bounds), bound
