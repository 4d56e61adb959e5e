"""Requests with ids over one long-lived stream per peer and direction: the asyncio half of the seam, for any DHT's messages."""
