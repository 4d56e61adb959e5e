"""stdout is data, stderr is talk; a terminal gets a little more than a pipe."""

from __future__ import annotations

import io
import json

from peerstack_cli.output import Output

from peerstack.errors import KeyNotFound


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def byte_stream(*, terminal: bool) -> io.TextIOWrapper:
    class Stream(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    return Stream(io.BytesIO(), encoding="utf-8", write_through=True)


def written(stream: io.TextIOWrapper) -> bytes:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


def test_a_result_is_one_document_or_its_text() -> None:
    for as_json, expected in ((True, '{"a": 1}\n'), (False, "one\n")):
        stdout, stderr = io.StringIO(), io.StringIO()
        Output(json=as_json, stdout=stdout, stderr=stderr).document({"a": 1}, "one")
        assert (stdout.getvalue(), stderr.getvalue()) == (expected, "")


def test_errors_go_to_stderr_and_give_the_exit_code() -> None:
    for as_json in (True, False):
        stdout, stderr = io.StringIO(), io.StringIO()
        assert Output(json=as_json, stdout=stdout, stderr=stderr).fail(KeyNotFound("no value")) == 4
        assert stdout.getvalue() == ""
        said = stderr.getvalue()
        assert json.loads(said)["error"]["code"] == "not_found" if as_json else said == "error: no value\n"


def test_data_is_written_byte_for_byte_and_ends_its_line_on_a_terminal() -> None:
    for terminal, data, expected in ((False, b"\xff", b"\xff"), (True, b"\xff", b"\xff\n"), (True, b"line\n", b"line\n")):
        stdout = byte_stream(terminal=terminal)
        Output(stdout=stdout).raw(data)
        assert written(stdout) == expected


def test_progress_is_for_terminals_and_is_wiped_by_what_follows() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stdout in (terminal, pipe):
        output = Output(stdout=stdout)
        output.progress("working ...")
        output.line("done")
        output.line("next")
    assert terminal.getvalue() == "working ...\r\x1b[Kdone\nnext\n"
    assert pipe.getvalue() == "done\nnext\n"


def test_with_json_there_is_no_progress() -> None:
    terminal = Terminal()
    Output(json=True, stdout=terminal).progress("working ...")
    assert terminal.getvalue() == ""
