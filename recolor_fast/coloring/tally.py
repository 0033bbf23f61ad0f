"""What people are told of a run of colorize."""

import os
from collections import Counter
from collections.abc import Sequence

from recolor_fast.coloring import folder
from recolor_fast.machine.files import say
from recolor_fast.settings import Settings

MOST = 1000  # failures that are named at the end
ALIKE = 10  # of these for one reason that lies in the output


class Tally:
    """What became of the files of a run, told to people at its end."""

    def __init__(self, settings: Settings, inputs: Sequence[str], output: str | None, where: str = "") -> None:
        """`where`: what people are told that there was nothing in; the inputs if not given."""
        self.where = where or ", ".join(inputs)
        self.settings, self.inputs, self.to_stdout = settings, inputs, output == "-"
        self.images = False  # whether there was any
        self.whole = False  # whether all files were seen: nothing ended the run before
        self.alone = not settings.in_place and len(inputs) == 1 and not os.path.isdir(inputs[0])
        self.colored = 0
        self.copied = 0
        self.skipped: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []  # the first ones
        self.alike: Counter[str] = Counter()  # by reason without the output's name, where that is in it
        self.failed_count = 0

    def add(self, record: folder.Record) -> None:
        self.colored += record.status == "ok" and record.reason != folder.COPIED
        self.copied += record.reason == folder.COPIED
        self.images = self.images or record.output is not None or record.status != "skipped"
        if record.status == "skipped":
            self.skipped[record.reason] += 1
        if record.status == "failed":
            self.failed_count += 1
            kind = record.reason.replace(f" {record.output} ", " ")
            if kind != record.reason and (kind in self.alike or len(self.alike) < MOST):
                self.alike[kind] += 1
            if len(self.failures) < MOST and self.alike[kind] <= ALIKE:
                self.failures.append((record.input, record.reason))
        self.notes.update(record.notes)

    def tell(self) -> None:
        if self.whole and not self.images:
            say(f"no image files in {self.where}")
        why = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
        say(f"{self.colored} colored, {self.skipped.total()} skipped{why and f' ({why})'}, {self.failed_count} failed")
        became = "left alone" if self.settings.color == "skip" else "copied whole"
        became = "passed through unchanged" if self.to_stdout else became
        if count := self.copied + self.skipped[folder.IN_COLOR]:
            advice = "" if self.settings.in_place else f"; --color recolor colors {'it' if count == 1 else 'them'}"
            say(f"  {count} in color: {became}{advice}")
        reasons = [*self.skipped.elements(), *(reason for _, reason in self.failures)]
        if count := sum(reason.startswith(folder.FILM) for reason in reasons):
            say(f"  {count} {folder.FILM}: each is colored alone, recolor-fast colorize FILM OUT.mp4")
        for path, reason in self.failures:
            say(f"  {path}: {reason}")
        rest = self.failed_count - len(self.failures)
        for kind, count in self.alike.items():
            if count > ALIKE:
                rest -= count - ALIKE
                say(f"  and {count - ALIKE:,} more, which --json names: {kind}")
        if rest:
            say(f"  and {rest:,} more, which --json names")
        for note, count in self.notes.most_common(10):
            say(f"  {count} x {note}")

    @property
    def failed(self) -> bool:
        """Whether any file failed, or the only one is in color."""
        return bool(self.failed_count or (self.alone and self.skipped[folder.IN_COLOR]))
