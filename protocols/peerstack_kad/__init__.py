"""Kademlia: put, get and find, over the servers of one network.

Source: Maymounkov and Mazieres, "Kademlia: A Peer-to-Peer Information System Based on the XOR Metric" (IPTPS 2002);
https://github.com/libp2p/specs/tree/master/kad-dht
"""

from peerstack_kad.plugin import PROTOCOL_ID, Kademlia
from peerstack_kad.raw_operations import RawPutResult
from peerstack_kad.raw_values import RawNamespace

__all__ = ["PROTOCOL_ID", "Kademlia", "RawNamespace", "RawPutResult"]
