"""`python -m recolor_fast VERB` is `recolor-fast VERB`."""

import sys

from recolor_fast.cli import main

sys.exit(main())
