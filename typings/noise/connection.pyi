from enum import Enum

from noise.backends.default import DefaultNoiseBackend
from noise.backends.default.keypairs import KeyPair25519

class Keypair(Enum):
    STATIC = 1
    REMOTE_STATIC = 2
    EPHEMERAL = 3
    REMOTE_EPHEMERAL = 4

class CipherState:
    k: bytes
    n: int

class HandshakeState:
    s: KeyPair25519
    e: KeyPair25519
    rs: KeyPair25519
    re: KeyPair25519

class NoiseProtocol:
    handshake_state: HandshakeState
    cipher_state_encrypt: CipherState
    cipher_state_decrypt: CipherState
    keypairs: dict[str, KeyPair25519 | None]

class NoiseConnection:
    handshake_finished: bool
    noise_protocol: NoiseProtocol
    @classmethod
    def from_name(cls, name: str | bytes, backend: DefaultNoiseBackend = ...) -> NoiseConnection: ...
    def set_prologue(self, prologue: bytes | str) -> None: ...
    def set_as_initiator(self) -> None: ...
    def set_as_responder(self) -> None: ...
    def set_keypair_from_private_bytes(self, keypair: Keypair, private_bytes: bytes) -> None: ...
    def start_handshake(self) -> None: ...
    def write_message(self, payload: bytes = ...) -> bytearray: ...
    def read_message(self, data: bytes) -> bytearray: ...
    def get_handshake_hash(self) -> bytes: ...
