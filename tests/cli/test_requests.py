"""A request of the API is checked before anything is done."""

from __future__ import annotations

from typing import Any

import pytest
from peerstack_cli.failures import CommandError
from peerstack_cli.requests import Request

ALLOWED = ("text", "number", "ack", "data")


def refused(fields: object, read: str, name: str) -> str:
    with pytest.raises(CommandError) as caught:
        getattr(Request(fields, allowed=ALLOWED), read)(name)
    assert caught.value.code == "usage"
    return str(caught.value)


def test_absent_and_null_are_none() -> None:
    for fields in ({}, dict.fromkeys(ALLOWED)):
        request = Request(fields, allowed=ALLOWED)
        values = (request.text("text"), request.number("number"), request.count("number"), request.ack("ack"), request.data("data"))
        assert values == (None,) * 5


def test_fields_are_read_by_their_type() -> None:
    request = Request({"text": "a", "number": 2.5, "ack": "all", "data_base64": "AP8="}, allowed=ALLOWED)
    assert (request.text("text"), request.number("number"), request.ack("ack"), request.data("data")) == ("a", 2.5, "all", b"\x00\xff")
    assert Request({"ack": 3}, allowed=ALLOWED).ack("ack") == 3
    assert Request({"data": "ü"}, allowed=ALLOWED).data("data") == "ü".encode()


@pytest.mark.parametrize("fields", [None, [], "text", 3])
def test_a_request_is_an_object(fields: object) -> None:
    assert "JSON object" in refused(fields, "text", "text")


def test_an_unknown_field_is_named() -> None:
    assert "'nope'" in refused({"nope": 1}, "text", "text")


@pytest.mark.parametrize(
    ("read", "name", "value"),
    [
        ("text", "text", 3),
        ("number", "number", "3"),
        ("number", "number", True),
        ("number", "number", 0),
        ("number", "number", -1),
        ("number", "number", float("nan")),
        ("number", "number", float("inf")),
        ("count", "number", 1.5),
        ("ack", "ack", "most"),
        ("ack", "ack", 0),
        ("ack", "ack", [1]),
        ("data", "data", 3),
        ("data", "data_base64", "***"),
        ("data", "data_base64", "AP8"),
        ("required_text", "text", None),
        ("required_data", "data", None),
    ],
)
def test_a_wrong_value_names_its_field(read: str, name: str, value: Any) -> None:
    assert name.removesuffix("_base64") in refused({name: value}, read, name.removesuffix("_base64"))


def test_text_and_base64_exclude_each_other() -> None:
    assert "exclude" in refused({"data": "a", "data_base64": "AA=="}, "data", "data")


def test_a_flag_is_a_boolean() -> None:
    assert Request({"text": True}, allowed=ALLOWED).flag("text")
    assert not Request({"text": None}, allowed=ALLOWED).flag("text")
    assert "true or false" in refused({"text": "yes"}, "flag", "text")
