"""``python -m drrval``."""

import sys

from drrval.cli import main

sys.exit(main())
