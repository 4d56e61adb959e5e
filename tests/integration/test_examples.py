"""Each example runs and does what it says."""

from __future__ import annotations

import pytest

from examples import echo, either_dht, put_get, request_response

pytestmark = pytest.mark.asyncio


async def test_the_echo_example_gets_its_line_back() -> None:
    assert await echo.main() == b"hello peer\n"


async def test_the_request_response_example_counts_words() -> None:
    assert await request_response.main() == [6, 4]


async def test_the_put_get_example_reads_a_value_after_its_writer_left() -> None:
    assert await put_get.main() == b"hello"


@pytest.mark.parametrize("dht", ["kad", "chord"])
async def test_the_example_of_either_dht_reads_the_same_with_both(dht: str) -> None:
    assert await either_dht.main(dht) == [b"hello", b"hello again", None]
