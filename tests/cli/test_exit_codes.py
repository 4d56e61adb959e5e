"""Exit codes: what the page says is what happens, for every error there is."""

from __future__ import annotations

import re

import pytest
from peerstack_cli.exit_codes import ExitCode, exit_code_of
from peerstack_cli.failures import CommandError, failure_of

import peerstack.errors
from peerstack.errors import KeyNotFound, PeerIdMismatch, PeerstackError
from tests.cli.documents import DOCS, check, table_rows

OURS = {"usage", "not_running", "already_running", "missing_extra", "internal", "interrupted"}


def documented() -> dict[str, int]:
    """Error code -> exit code, as the page has it."""
    rows = [row for row in table_rows(DOCS / "cli.md") if row[0].isdigit()]
    return {code: int(row[0]) for row in rows for code in re.findall(r"`([a-z_]+)`", row[2])}


def error_classes() -> list[type[PeerstackError]]:
    found = [getattr(peerstack.errors, name) for name in peerstack.errors.__all__]
    return [each for each in found if issubclass(each, PeerstackError)]


def test_every_code_there_is_is_documented_and_no_other() -> None:
    assert set(documented()) == {each.code for each in error_classes()} | OURS


@pytest.mark.parametrize(("code", "exit_code"), sorted(documented().items()))
def test_each_code_ends_as_documented(code: str, exit_code: int) -> None:
    assert exit_code_of(code) == exit_code


def test_every_exit_code_is_documented() -> None:
    rows = [int(row[0]) for row in table_rows(DOCS / "cli.md") if row[0].isdigit()]
    assert rows == [int(code) for code in ExitCode]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyNotFound("no value"), "not_found"),
        (PeerIdMismatch("12D3KooWA", "12D3KooWB"), "identity_mismatch"),
        (CommandError("not_running", "no daemon"), "not_running"),
        (TimeoutError(), "timeout"),
        (ZeroDivisionError("oops"), "internal"),
    ],
)
def test_every_error_has_a_code_a_message_and_a_document(error: Exception, code: str) -> None:
    failure = failure_of(error)
    assert failure.code == code
    assert failure.message
    check("error", failure.document())
