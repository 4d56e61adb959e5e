"""Identify: peers tell each other who they are, where they listen and what they speak."""

from peerstack_identify.identify import Identify
from peerstack_identify.messages import Identity

__all__ = ["Identify", "Identity"]
