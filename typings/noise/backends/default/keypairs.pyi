from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

class KeyPair25519:
    private: X25519PrivateKey
    public: X25519PublicKey
    public_bytes: bytes
    @classmethod
    def from_private_bytes(cls, private_bytes: bytes) -> KeyPair25519: ...
    @classmethod
    def from_public_bytes(cls, public_bytes: bytes) -> KeyPair25519: ...
