"""``python -m peerstack_cli`` is ``peerstack``."""

from __future__ import annotations

import sys

from peerstack_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
