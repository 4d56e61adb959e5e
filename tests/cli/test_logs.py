"""Log levels by subsystem, as text or as JSON lines."""

from __future__ import annotations

import io
import json
import logging

import pytest
from peerstack_cli.logs import LogSettings, configure

from peerstack.errors import ConfigError

NAMES = ("peerstack.wire.noise", "peerstack.plugin.kad", "peerstack_kad.plugin", "peerstack.host.dialer", "aiohttp.access", "acme.deep")


def parse(level: str, style: str = "text") -> LogSettings:
    return LogSettings.parse(level=level, format=style, default_level="info")


def effective(level: str) -> dict[str, str]:
    configure(parse(level), io.StringIO())
    return {name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()) for name in NAMES}


def test_one_level_holds_for_everything_but_the_noisy() -> None:
    assert effective("info") == dict.fromkeys(NAMES, "INFO") | {"aiohttp.access": "WARNING"}


def test_a_subsystem_has_its_own_level_and_the_rest_keeps_the_default() -> None:
    levels = effective("wire=debug,kad=error")
    assert levels["peerstack.wire.noise"] == "DEBUG"
    assert levels["peerstack.plugin.kad"] == levels["peerstack_kad.plugin"] == "ERROR"
    assert levels["peerstack.host.dialer"] == levels["acme.deep"] == "INFO"


def test_a_level_and_subsystems_go_together_in_any_order() -> None:
    assert parse("wire=debug,warning") == parse("warning, wire=DEBUG")


def test_a_whole_logger_name_may_be_given() -> None:
    assert effective("acme.deep=debug")["acme.deep"] == "DEBUG"


@pytest.mark.parametrize("level", ["loud", "", "wire=", "=debug", "wire=loud", "info,,debug"])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(ConfigError, match="log level"):
        parse(level)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"log format 'xml'.*text, json"):
        parse("info", "xml")


def test_json_lines_hold_the_message_and_the_traceback() -> None:
    stream = io.StringIO()
    configure(parse("info", "json"), stream)
    logger = logging.getLogger("peerstack.host")
    logger.info("two\nlines of %s", "text")
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("it crashed")
    logger.debug("not shown")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("info", "peerstack.host", "two\nlines of text")
    assert first["time"].endswith("+00:00")
    assert "traceback" not in first
    assert "ValueError: boom" in second["traceback"]


def test_text_lines_name_level_and_logger() -> None:
    stream = io.StringIO()
    configure(parse("info"), stream)
    logging.getLogger("peerstack.host").warning("careful")
    assert "WARNING peerstack.host: careful" in stream.getvalue()
