"""The front door: which verbs there are, how they start, how they end, and what shells complete."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from recolor_fast import cli
from recolor_fast.arguments import completion
from recolor_fast.machine import starting, versions
from recolor_fast.machine.errors import Failed, UserError
from recolor_fast.machine.signals import Stopped

ROOT = Path(__file__).parent.parent
LISTED = "import atexit, sys\natexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
HEAVY = {"torch", "onnxruntime", "onnx", "cv2", "numpy", "PIL", "matplotlib", "scipy", "skimage", "nvidia", "fastapi"}


def door(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """`recolor-fast` with these words, as its script starts it, after some lines of Python."""
    program = f"import sys\nsys.argv[1:] = {words}\n{before}from recolor_fast.cli import main\nsys.exit(main())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("trian",), ()])
def test_the_front_door_imports_no_more_than_it_says(words):
    done = door(*words, before=LISTED)
    assert done.returncode == (0 if words and words[0].startswith("--") else 2)
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "recolor_fast" in loaded
    assert not (HEAVY | {"tyro", "tqdm"}) & loaded


def test_help_names_every_verb(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb in cli.VERBS:
        assert f"  {verb.name} " in said
        assert verb.line in said
    assert all(len(line) <= 100 for line in said.splitlines())
    assert cli.main([]) == 2
    assert capsys.readouterr() == ("", said)


def test_version_tells_the_whole_stack(capsys):
    assert cli.main(["--version"]) == 0
    said = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["recolor-fast"] == version("recolor-fast")
    assert said["numpy"] == version("numpy")
    assert set(said) == {"python", "CUDA driver", "platform", *versions.PACKAGES}
    assert said["python"] == sys.version.split()[0]


def test_version_tells_what_is_missing(monkeypatch):
    monkeypatch.setattr(versions, "versions", lambda: {"python": "3.11.4", "recolor-fast": "1"})
    monkeypatch.setattr(versions.extras, "nvidia_driver", lambda: "no such library")
    said = versions.lines()
    assert re.search(r"^torch +not installed$", said, re.M)
    assert re.search(r"^CUDA driver +not found \(no such library\)$", said, re.M)
    monkeypatch.setattr(versions.extras, "nvidia_driver", lambda: "")
    assert re.search(r"^CUDA driver +found", versions.lines(), re.M)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("colourize", "did you mean colorize?"),
        ("Train", "did you mean train?"),
        ("xyz", "expected one of colorize, "),
    ],
)
def test_an_unknown_verb_is_one_line_with_the_nearest(word, said, capsys):
    assert cli.main([word, "--help"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: unknown verb '{word}': {said}")
    assert told.err.count("\n") == 1


# A process that has tyro, which takes the longest to import, forks those that say their --help.
STARTED = """
import atexit, os, runpy, sys, tyro
from recolor_fast import cli

def heavy():
    print("heavy:", *{name.split(".")[0] for name in sys.modules} & {*HEAVY})

def by_module(verb):
    sys.argv[:] = [verb.module, "--help"]
    runpy.run_module(verb.module, run_name="__main__")

HEAVY = sys.argv[1:]
for verb in cli.VERBS:
    for start in (lambda verb: cli.main([verb.name, "--help"]), by_module):
        print("start", verb.name, flush=True)
        if not os.fork():
            atexit.register(heavy)
            sys.exit(start(verb))
        assert os.wait()[1] == 0, verb
"""


@pytest.mark.skipif(os.name != "posix", reason="no fork")
def test_every_verb_starts_at_once_and_calls_itself_by_its_name():
    done = subprocess.run([sys.executable, "-c", STARTED, *HEAVY], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^start (.+)\nusage: (python|recolor-fast) (\S+) ", done.stdout, re.M)
    assert [(name, program) for name, program, _ in said] == [
        (verb.name, program) for verb in cli.VERBS for program in ("recolor-fast", "python")
    ]
    assert all(word == name for name, program, word in said if program == "recolor-fast")
    assert done.stdout.count("\nheavy:\n") == 2 * len(cli.VERBS)
    assert "{None}" not in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="no pseudo-terminal")
@pytest.mark.parametrize("asked", [{}, {"NO_COLOR": "1"}], ids=["colors", "NO_COLOR"])
def test_help_on_a_terminal_has_colors_unless_no_color_is_set(asked):
    import pty

    leader, follower = pty.openpty()
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | asked
    command = [sys.executable, "-m", "recolor_fast.plot", "--help"]
    subprocess.run(command, stdout=follower, cwd=ROOT, env=variables, check=True)
    os.close(follower)
    said = os.read(leader, 2**16)
    os.close(leader)
    assert b"usage:" in said
    assert (b"\x1b[" in said) == (not asked)


def test_words_reach_the_verb_and_its_exit_code_comes_back(tmp_path):
    missing = tmp_path / "missing"
    done = door("colorize", str(missing), str(tmp_path / "out"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(missing) in done.stderr
    module = subprocess.run(
        [sys.executable, "-m", "recolor_fast", "colorize", str(missing), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (module.returncode, module.stderr) == (2, done.stderr)


def test_the_console_script_is_the_front_door():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {starting.PROGRAM: "recolor_fast.cli:main"}


# --- how verbs end -------------------------------------------------------------------------------------------------


class Odd(UserError):
    exit_code = 7


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("no such file"), 2, "error: no such file\n"),
        (Failed("no memory"), 1, "error: no memory\n"),
        (Odd("odd"), 7, "error: odd\n"),
        (FileNotFoundError("gone"), 5, "error: gone\n"),  # of OSError, which the table names
        (UserError("two\nlines"), 2, "error: two\\nlines\n"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT\n"),
        (Stopped(15), 143, "stopped by SIGTERM\n"),
        (BrokenPipeError(), 1, ""),
        (ModuleNotFoundError("no torch", name="torch"), 2, "error: torch is not installed; "),
        (SystemExit(2), 2, ""),
        (SystemExit(), 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_a_verb_raises_is_its_exit_code_and_a_line(raised, code, said, capfd, monkeypatch):
    monkeypatch.setattr(starting.os, "dup2", lambda *descriptors: None)

    @starting.verb(stopped="stopped by {signal}", told={OSError: 5})
    def main(argv: list[str]) -> int:
        raise raised

    assert main([]) == code
    told = capfd.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == bool(said)


@pytest.mark.parametrize("bug", [ValueError("x"), TypeError("x"), RuntimeError("x"), SystemExit("x")])
def test_a_bug_is_a_traceback(bug, capsys):
    @starting.verb()
    def main(argv: list[str]) -> int:
        raise bug

    with pytest.raises(type(bug), match="x"):
        main([])
    assert capsys.readouterr().err == ""


def test_a_table_may_name_one_kind_of_user_error():
    @starting.verb(told={Odd: 3, ValueError: 4})
    def main(argv: list[str]) -> int:
        raise {"odd": Odd, "user": UserError, "value": ValueError}[argv[0]](argv[0])

    assert [main([word]) for word in ("odd", "user", "value")] == [3, 2, 4]


def test_a_verb_takes_the_command_line_where_it_gets_no_words(monkeypatch):
    @starting.verb()
    def main(argv: list[str]) -> int:
        return len(argv)

    monkeypatch.setattr(sys, "argv", ["x", "1", "2"])
    assert (main(), main([])) == (2, 0)


# --- completion ----------------------------------------------------------------------------------------------------


def test_every_verb_is_completed():
    assert list(completion.TAKES) == [verb.name for verb in cli.VERBS]


@pytest.fixture(scope="module")
def bash(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "bash"
    path.write_text(completion.script("bash"))
    return path


COMPLETED = {
    "exp": ["export", "export-safetensors", "export-tensorrt"],
    "train --device a": ["auto"],
    "train --pre": ["--preset"],
    "export --precision int": ["int8"],
    "study re": ["report"],
    "study report --compl": ["--complete-only"],
    "colorize --satu": ["--saturation"],
    "colorize pho": ["photographs"],
    "colorize --model pho": ["photographs"],
    "colorize --threads 2 a pho": ["photographs"],
}


@pytest.mark.skipif(sys.platform != "linux", reason="no bash")
def test_bash_completes(bash, tmp_path):
    (tmp_path / "photographs").mkdir()
    program = (
        'source "$1"; shift; for asked in "$@"; do\n'
        "COMP_WORDS=(recolor-fast $asked); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); _tyro_recolor_fast\n"
        'echo "$asked:" "${COMPREPLY[@]}"; done; complete -p recolor-fast >&2'
    )
    words = ["bash", "-c", program, "bash", str(bash), *COMPLETED]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert dict(line.split(": ") for line in done.stdout.splitlines()) == {
        words: " ".join(expected) for words, expected in COMPLETED.items()
    }
    assert done.stderr == "complete -F _tyro_recolor_fast recolor-fast\n"


def test_what_is_mended_of_tyros_scripts_is_in_them():
    """A tyro that writes its scripts otherwise has to be looked at again."""
    for shell, count in (("bash", 2), ("zsh", 1)):
        written = completion.script(shell)
        assert sum(new in written for new in completion.MENDED.values()) == count
        spec = next(line for line in written.splitlines() if line.startswith("COMPLETION_SPEC ="))
        assert "\\n" not in spec
        assert eval(spec.removeprefix("COMPLETION_SPEC ="))["prog"] == "recolor-fast"


def test_other_shells_are_refused(capsys):
    assert completion.main(["fish"]) == 2
    assert "'bash', 'zsh'" in capsys.readouterr().err
