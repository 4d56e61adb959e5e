"""What people type: durations, values, acknowledgements."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peerstack_cli.failures import CommandError
from peerstack_cli.requests import Request
from peerstack_cli.values import MAX_VALUE_BYTES, as_document, parse_ack, parse_duration, read_value, text_argument


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1h", 3600), ("1.5h", 5400), ("30m", 1800), ("500ms", 0.5), ("7d", 604800), ("0.25", 0.25), (".5s", 0.5), (" 2 s ", 2)],
)
def test_durations_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text, "--ttl") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "0h", "-5", "h", "1w", "1e3", "nan", "inf", "1h30m", "9" * 400])
def test_what_is_no_duration_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(CommandError, match="--ttl") as caught:
        parse_duration(text, "--ttl")
    assert caught.value.code == "usage"


def test_no_duration_is_none() -> None:
    assert parse_duration(None, "--ttl") is None


def test_acknowledgements_are_a_word_or_a_number() -> None:
    assert [parse_ack(text) for text in (None, "majority", "one", "all", "3")] == [None, "majority", "one", "all", 3]
    for wrong in ("", "0", "-1", "most", "1.5", "٣"):
        with pytest.raises(CommandError, match="--ack"):
            parse_ack(wrong)


def test_a_value_is_its_own_bytes() -> None:
    assert read_value("grüße") == "grüße".encode()
    assert read_value("@@home") == b"@home"
    assert read_value(os.fsdecode(b"\xff\x00x".replace(b"\x00", b""))) == b"\xffx"
    assert read_value("") == b""


def test_a_value_can_come_from_a_file_or_from_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value"
    path.write_bytes(bytes(range(256)))
    assert read_value(f"@{path}") == bytes(range(256))
    monkeypatch.setattr("sys.stdin", _Stdin(b"\x00\xffpiped"))
    assert read_value("-") == b"\x00\xffpiped"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing-here"):
        read_value(f"@{tmp_path / 'nothing-here'}")


def test_no_more_is_read_than_a_value_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value"
    path.write_bytes(bytes(MAX_VALUE_BYTES))
    assert len(read_value(f"@{path}")) == MAX_VALUE_BYTES
    monkeypatch.setattr("sys.stdin", _Stdin(bytes(MAX_VALUE_BYTES + 1)))
    with pytest.raises(CommandError) as caught:
        read_value("-")
    assert caught.value.code == "value_too_large"


@given(st.binary())
def test_bytes_survive_a_document(data: bytes) -> None:
    assert Request(as_document("value", data), allowed=["value"]).data("value") == data


def test_an_argument_is_the_bytes_that_were_typed() -> None:
    assert text_argument("key", "grüße") == {"key": "grüße"}
    assert text_argument("key", os.fsdecode(b"\xff")) == {"key_base64": "/w=="}
