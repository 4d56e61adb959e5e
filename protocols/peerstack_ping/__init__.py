"""Ping: is a peer there, and how far away."""

from peerstack_ping.ping import Ping

__all__ = ["Ping"]
