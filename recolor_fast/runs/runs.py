"""run_folder.py, csv_rows.py and learned.py by the name of when they were one, for programs that import it."""

from recolor_fast.runs.csv_rows import Rows, best, validation
from recolor_fast.runs.learned import OWN, WEIGHTS, Trained, named, public, start, trained
from recolor_fast.runs.run_folder import create, find, locked, newest, stored_options

__all__ = ["OWN", "WEIGHTS", "Rows", "Trained", "best", "create", "find", "locked", "named", "newest", "public"]
__all__ += ["start", "stored_options", "trained", "validation"]
