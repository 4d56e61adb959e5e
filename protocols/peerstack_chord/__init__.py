"""Chord: put and get over the servers of one ring, with the operations that were proved correct.

Source: Stoica et al. (IEEE/ACM ToN 2003) for fingers and lookups; Zave (IEEE TSE 2017) for joining, stabilising and rectifying.
"""

from peerstack_chord.plugin import PROTOCOL_ID, Chord

__all__ = ["PROTOCOL_ID", "Chord"]
