"""The host: what joins transports, connections, peers and plugins into one running peer."""

from __future__ import annotations
