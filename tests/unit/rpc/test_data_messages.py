"""What every DHT's `.proto` has to declare for itself is declared alike in all of them."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.message import Message
from peerstack_chord.pb.chord_pb2 import Message as ChordMessage
from peerstack_kad.pb.kad_pb2 import Message as KademliaMessage

from peerstack.dht.contract import Refusal, RefusalReason
from peerstack.rpc.codec import Envelope
from peerstack.rpc.data_messages import DataMessage, Kind
from peerstack.rpc.data_parts import status_of
from peerstack.rpc.pb.data_pb2 import Status

SHARED = {name for each in (Envelope, DataMessage) for name, attribute in vars(each).items() if isinstance(attribute, property)}


def fields(message_type: type[Message]) -> dict[str, tuple[object, ...]]:
    """How a message declares its fields: by name their number, type, and whether they repeat or can be absent."""
    declared = DescriptorProto()
    message_type.DESCRIPTOR.CopyToProto(declared)
    own = f".{message_type.DESCRIPTOR.full_name}."
    return {
        each.name: (each.number, each.type, each.type_name.removeprefix(own), each.label, each.proto3_optional) for each in declared.field
    }


def test_shared_fields_are_the_same_in_every_dht() -> None:
    kad, chord = fields(KademliaMessage), fields(ChordMessage)
    assert {name: kad[name] for name in SHARED} == {name: chord[name] for name in SHARED}
    assert kad.keys() & chord.keys() == SHARED


@pytest.mark.parametrize("message_type", [KademliaMessage, ChordMessage], ids=["kad", "chord"])
def test_shared_types_have_their_numbers_in_every_dht(message_type: type[KademliaMessage | ChordMessage]) -> None:
    assert {kind.name: kind.value for kind in Kind}.items() <= dict(message_type.MessageType.items()).items()


def test_a_refusal_is_the_status_of_its_name() -> None:
    for reason in set(RefusalReason) - {RefusalReason.UNREACHABLE, RefusalReason.TIMEOUT}:  # which nobody says of itself
        assert Status.Name(status_of(Refusal(reason, ""))).lower() == reason.value
