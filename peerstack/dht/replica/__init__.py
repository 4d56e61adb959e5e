"""What one node of any DHT here does with records: put, get, hold, take over, repair, hand on; the routing is a plugin's. Pure."""
