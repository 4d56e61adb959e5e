from collections.abc import Callable

from noise.backends.default.diffie_hellmans import ED25519

class DefaultNoiseBackend:
    diffie_hellmans: dict[str, Callable[[], ED25519]]
    def __init__(self) -> None: ...

noise_backend: DefaultNoiseBackend
