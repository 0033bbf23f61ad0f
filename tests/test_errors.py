"""What users are told, in one line and with exit code 2; a bug is none of that: a traceback, and exit code 1."""

import ast
from pathlib import Path

import pytest

from recolor_fast import train
from recolor_fast.data import host, index, loader
from recolor_fast.machine.errors import UserError
from recolor_fast.runs import checkpoint, validation
from recolor_fast.step.iteration import Step
from tests.photographs import write_jpegs
from tests.trainings import arguments

PACKAGE = Path(train.__file__).parent
SPEAK_TO_USERS = """
options train step/iteration step/fused runs/checkpoint runs/run_folder runs/learned runs/csv_rows
runs/session machine/download data/dali data/index data/loader data/sources losses/features losses/terms
networks/generators networks/layers networks/critics networks/published
""".split()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 6)
    return folder


def broken(*arguments, **others):
    raise ValueError("operands could not be broadcast together")


@pytest.mark.parametrize(
    ("where", "name"),
    [(Step, "__call__"), (Step, "__init__"), (loader, "_cached"), (host, "square"), (validation, "validate")],
)
def test_a_bug_is_not_told_as_a_users_fault(where, name, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(ValueError, match="broadcast") as caught:
        train.main(arguments(photographs, tmp_path, "--preset", "pix2pix", "--cache", "on"))
    assert not isinstance(caught.value, UserError)
    assert "error:" not in capsys.readouterr().err


def test_after_a_bug_nothing_half_done_is_saved(photographs, tmp_path, monkeypatch):
    call = Step.__call__

    def third(self, gray, rgb, seen):
        return broken() if seen == 2 else call(self, gray, rgb, seen)

    monkeypatch.setattr(Step, "__call__", third)
    with pytest.raises(ValueError, match="broadcast"):
        train.main(arguments(photographs, tmp_path, "--preset", "pix2pix", "--name", "r"))
    assert checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints") == []


@pytest.mark.parametrize(
    "words",
    [
        ("--preset", "pix"),
        ("--preset", "pix2pix", "--adversary", "hinge"),
        ("--preset", "pix2pix", "--fused-critic", "on"),
        ("--preset", "pix2pix", "--data", "/no/such/folder"),
        ("--preset", "pix2pix", "--start", "/no/such/run"),
    ],
)
def test_what_a_user_can_mend_is_one_line(words, photographs, tmp_path, capsys):
    assert train.main(arguments(photographs, tmp_path, *words)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")


def test_photographs_that_vanish_are_told_and_what_was_trained_is_kept(photographs, tmp_path, monkeypatch, capsys):
    def gone(*arguments, **others):
        raise index.Unusable(Path("a.jpg"), "not there any more")

    call = Step.__call__

    def then(self, gray, rgb, seen):
        return gone() if seen == 2 else call(self, gray, rgb, seen)

    monkeypatch.setattr(Step, "__call__", then)
    assert train.main(arguments(photographs, tmp_path, "--preset", "pix2pix", "--name", "r")) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: a.jpg: not there any more; repair or remove the file"
    assert len(checkpoint.list_checkpoints(tmp_path / "r" / "checkpoints")) == 1


@pytest.mark.parametrize("name", SPEAK_TO_USERS)
def test_modules_that_speak_to_users_say_so(name):
    """A plain ValueError of theirs would reach them as a traceback."""
    raised = [
        node.exc.func.id
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    ]
    assert "ValueError" not in raised
