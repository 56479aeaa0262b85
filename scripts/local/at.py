"""What `./scripts/test --at` and `--zone` set: what is started without it is at another time than everything else."""

import os

NAMES = ("TZ", "LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC")
AT = {name: os.environ[name] for name in NAMES if name in os.environ}
