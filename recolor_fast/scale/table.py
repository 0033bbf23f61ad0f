"""What a run did to each photograph, with which model and settings: a Parquet file of the table beside OUT."""

import json
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow
from pyarrow import parquet

from recolor_fast.coloring.folder import Record
from recolor_fast.photographs.provenance import Made
from recolor_fast.scale import places

ROWS = 1000  # of a row group
SCHEMA = pyarrow.schema(
    {
        **dict.fromkeys(("input", "output", "status", "reason"), pyarrow.string()),
        **dict.fromkeys(("width", "height"), pyarrow.int32()),
        "notes": pyarrow.list_(pyarrow.string()),
        "seconds": pyarrow.float64(),
        "restored": pyarrow.string(),
        **dict.fromkeys(("colored_by", "model", "sha256", "settings"), pyarrow.string()),
    }
)


def place(output: str) -> str:
    """The table's folder, one file a run: any reader of Parquet takes it as one table."""
    return places.beside(output, ".records")


def recorded(records: Iterable[Record], output: str, made: Made) -> Iterator[Record]:
    """The records as they come; at the end, however it comes, they are a whole file of the table. Raises OSError."""
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}.parquet"
    with tempfile.TemporaryDirectory(prefix="recolor_fast") as folder:
        path = Path(folder, name)
        try:
            with parquet.ParquetWriter(path, SCHEMA) as writer:
                rows: list[dict[str, object]] = []
                try:
                    for record in records:
                        rows.append(_row(record, made))
                        if len(rows) == ROWS:
                            writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))
                            rows.clear()
                        yield record
                finally:
                    writer.write_table(pyarrow.Table.from_pylist(rows, SCHEMA))
        finally:
            places.put(path, place(output), name)


def _row(record: Record, made: Made) -> dict[str, object]:
    named = ("colored_by", "model", "sha256")
    rest = {name: value for name, value in made.items() if name not in named}
    row = {name: value for name, value in record._asdict().items() if name != "cpu_seconds"}
    row |= {
        "notes": list(record.notes),
        "restored": json.dumps(record.restored),
        **{name: made[name] for name in named},
        "settings": json.dumps(rest),
    }
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # a byte of a name that is no UTF-8, as \udcff
