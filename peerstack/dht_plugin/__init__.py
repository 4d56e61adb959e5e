"""What every DHT's plugin is made from: the contract's calls as futures, the peers it meets, and a node on a host's streams and clocks."""
