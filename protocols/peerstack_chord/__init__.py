"""Chord, with the operations that were proved correct: the ring, who stands where on it, and how to find the way.

Source: Stoica et al. (IEEE/ACM ToN 2003) for fingers and lookups; Zave (IEEE TSE 2017) for joining, stabilising and rectifying.
"""

from peerstack_chord.events import MemberDied, MemberLeft, ModeChanged, PlaceChanged, RingEvent
from peerstack_chord.maintenance import Ring
from peerstack_chord.ring import Member, Mode, State

__all__ = ["Member", "MemberDied", "MemberLeft", "Mode", "ModeChanged", "PlaceChanged", "Ring", "RingEvent", "State"]
