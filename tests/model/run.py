"""What one search of the model checker is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One search."""

    name: str
    bounds: str
    """In words, for the table."""
    nodes: int
    model: str = "chord"
    """Which: the name of its Promela file."""
    copies: str = "r = 2"
    """How long lists are, or how many hold a key, in words."""
    defines: str = ""
    search: str = ""
    """Settings of the verifier that spin writes."""
    options: str = "-m4000000 -w24"
    """Its arguments."""
    breaks: bool = False
    """Whether something is to be found: the original operations, and known defects."""
    quick: bool = False
    memory_mib: int = 4000
