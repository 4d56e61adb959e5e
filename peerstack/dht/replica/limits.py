"""How much one message between servers carries, whatever the plugin's codec."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_CLOSER", "MAX_MESSAGE_BYTES", "MAX_NAMED", "MAX_PAGE_BYTES", "MAX_PAGE_RECORDS"]

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Longest message read and written: a whole key's set (256 KiB and its headers) fits, a page of a region too."""
MAX_CLOSER: Final = 20
"""Servers that an answer names as closer to what is looked for."""
MAX_NAMED: Final = 512
"""Servers that a `Standing` names: a whole neighbourhood in the answer to `Pull`."""
MAX_PAGE_BYTES: Final = 256 << 10
"""Records of one page: the one that goes over it is the last."""
MAX_PAGE_RECORDS: Final = 256
"""Also the most records of one key."""
