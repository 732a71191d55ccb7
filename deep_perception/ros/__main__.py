"""``python -m deep_perception.ros``: run the analyzer node."""

import sys

from deep_perception.ros import main

sys.exit(main())
