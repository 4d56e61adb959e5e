"""The asyncio shell: transports, one pump, connections and streams."""
