from noise.backends.default.keypairs import KeyPair25519

class ED25519:
    def generate_keypair(self) -> KeyPair25519: ...
