"""Verb: the script that makes a shell complete `recolor-fast`: verbs, their options and values, by tyro.

`recolor-fast completion bash` prints it. It is fixed text: completing starts no verb and imports none.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.arguments.completion")

from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Annotated, Any, Literal, Union

import tyro

from recolor_fast.arguments import (
    benchmark,
    colorize,
    demo,
    doctor,
    evaluate,
    plot,
    serve,
    shards,
    study,
    to_onnx,
    to_safetensors,
    to_tensorrt,
    web,
)
from recolor_fast.machine import starting
from recolor_fast.options import Command

Shell = Literal["bash", "zsh"]  # tyro writes these by itself; other shells would need the package shtab


@dataclass
class Arguments:
    """Print a completion script on stdout, for the file where the shell looks for those of `recolor-fast`."""

    shell: tyro.conf.Positional[Shell]
    """Whose script."""


@dataclass
class Study:
    """Ask people which colors are real."""

    action: study.Verbs


TAKES: dict[str, Any] = {
    "colorize": colorize.Arguments,
    "train": Command,
    "evaluate": evaluate.Arguments,
    "plot": plot.Arguments,
    "shards": shards.Arguments,
    "export": to_onnx.Arguments,
    "export-safetensors": to_safetensors.Arguments,
    "export-tensorrt": to_tensorrt.Arguments,
    "study": Study,
    "serve": serve.Arguments,
    "web": web.Arguments,
    "doctor": doctor.Arguments,
    "benchmark": benchmark.Arguments,
    "demo": demo.Arguments,
    "completion": Arguments,
}


MENDED = {  # what tyro writes -> so that it completes files where it knows no words
    '[[ "$completions" ==': '[[ -z "$completions" || "$completions" ==',
    'COMPREPLY=($(compgen -f -- "$cur"))': (  # its $cur is all words since the last option; and folders want a slash
        'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))'
    ),
}


def script(shell: Shell) -> str:
    """The completion script of the front door for a shell."""
    verbs: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in TAKES.items())]  # noqa: UP007
    with StringIO() as written, redirect_stdout(written):
        with suppress(SystemExit):
            tyro.cli(
                verbs,
                prog=starting.PROGRAM,
                args=["--tyro-print-completion", shell],
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
            )
        text = written.getvalue()
    for old, new in MENDED.items():
        text = text.replace(old, new)
    # It takes each line of what its Python prints for a word, those of a description of several lines too.
    lines = text.splitlines(keepends=True)
    return "".join(line.replace("\\n", " ") if line.startswith("COMPLETION_SPEC =") else line for line in lines)


@starting.verb()
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(Arguments, args=argv, prog=starting.usage("python -m recolor_fast.arguments.completion"))
    print(script(arguments.shell), end="")
    return 0
