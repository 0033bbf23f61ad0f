"""CSV files of a run that grow a row at a time, and what they say of its checkpoints."""

import csv
import io
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import write_text
from recolor_fast.runs import checkpoint
from recolor_fast.runs.read_rows import complete


def validation(run: Path) -> list[dict[str, str]]:
    """The complete rows of a run's validation.csv, in order; none where there is no such file."""
    return complete(run / "validation.csv")[1]


def best(run: Path) -> int | None:
    """The photographs seen of the checkpoint that exists with the lowest ab_rmse in validation.csv; None if none is.

    Rows without a finite number do not count; of equal ones the earlier is the best.
    """
    return next((int(path.stem) for path in by_error(run)), None)


def by_error(run: Path) -> list[Path]:
    """The checkpoints that validation.csv has an ab_rmse of, the lowest first, then the earliest."""
    errors = {}
    for row in validation(run):
        try:
            errors[int(row["images"])] = float(row["ab_rmse"])
        except (KeyError, ValueError):
            continue
    known = [path for path in checkpoint.list_checkpoints(run / "checkpoints") if int(path.stem) in errors]
    finite = [path for path in known if math.isfinite(errors[int(path.stem)])]
    return sorted(finite, key=lambda path: errors[int(path.stem)])


class Rows:
    """A CSV file that grows a dict at a time, each on the disk before `add` returns, by ascending photographs seen.

    On opening, rows past `seen` photographs (a resumed run repeats them) and what a kill left of one are cut.
    """

    def __init__(self, path: Path, seen: int) -> None:
        """UserError where the file is none of this kind."""
        self.path = path
        self.columns, rows = complete(path)
        if self.columns and "images" not in self.columns:
            raise UserError(f"{path}: its columns are {', '.join(self.columns)}; expected images among them: remove it")
        rows = [row for row in rows if int(row["images"]) <= seen]
        self.last = int(rows[-1]["images"]) if rows else -1
        self._row = rows[-1] if rows else {}
        if path.is_file():
            self._write(rows)

    def number(self, name: str) -> float:
        """What the last row had in a column when the file was opened; 0 where that is no number."""
        try:
            value = float(self._row.get(name) or 0)
        except ValueError:
            return 0.0
        return value if math.isfinite(value) else 0.0

    def _write(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="")
        if self.columns:
            writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())

    def add(self, row: dict[str, Any]) -> None:
        """Append a row, its floats with six digits. Columns that are new are added, the rows before have them empty.

        A row of no more photographs ("images") than the last one is left out: that one stays. OSError, with the file as
        it was, where the disk is full or fails.
        """
        if row["images"] <= self.last:
            return
        try:
            new = [name for name in row if name not in self.columns]
            if new or not self.path.is_file():
                rows = complete(self.path)[1]
                self.columns = [*self.columns, *new]
                self._write(rows)
            text = io.StringIO()
            values = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
            csv.DictWriter(text, self.columns, restval="").writerow(values)
            _append(self.path, text.getvalue().encode())
        except OSError as error:
            raise OSError(
                f"{self.path}: no row could be added ({error.strerror or error}); make room on that disk, or fix what "
                "the reason names, and continue with --resume"
            ) from error
        self.last = row["images"]


def _append(path: Path, data: bytes) -> None:
    """Append to a file and flush it to the disk; on an error it is as long as before."""
    size = path.stat().st_size
    try:
        with open(path, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            os.truncate(path, size)
        raise
