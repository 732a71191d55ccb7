"""``python -m deep_perception.ros``: the analyzer node."""

import sys

from deep_perception.ros import main

sys.exit(main())
