"""``python -m deep_perception``: the command ``deep_perception``."""

import sys

from deep_perception.cli.main import main

sys.exit(main())
