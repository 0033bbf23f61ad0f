"""The CSV files of a run as they are read; no torch."""

import csv
import io
from contextlib import suppress
from pathlib import Path

import numpy as np


def complete(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file that Rows wrote, without the half of one that a kill may leave.

    Rows count whose "images" is a number, larger than that of the row before.
    """
    if not path.is_file():
        return [], []
    text = path.read_bytes().decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    seen = -1
    with suppress(csv.Error):  # damaged: what comes before it counts
        columns = list(reader.fieldnames or [])
        for row in reader:
            number = row.get("images") or ""
            if None not in row and None not in row.values() and number.isdecimal() and int(number) > seen:
                rows.append(row)
                seen = int(number)
    return columns, rows


def numbers(rows: list[dict[str, str]], column: str) -> np.ndarray:
    """A column of `complete` rows, float64 (rows,); NaN where it holds no number."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(row.get(column, "")) for row in rows], float)
