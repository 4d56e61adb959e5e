"""What the authors of protocols, transports, muxers and DHTs test with.

`virtual_time` is an event loop whose clock jumps, `network` runs whole hosts on one memory network, and the ``*_conformance`` modules hold
the suites that every implementation of a contract must pass. Nothing is imported here: take the module you need.
"""
