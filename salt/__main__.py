"""``python -m salt`` is ``main``."""

import sys

from salt.main import main

sys.exit(main())
