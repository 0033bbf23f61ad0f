"""What --help says of each option: the first paragraph of the text below it in the source, in lines of any length."""

import ast
import inspect
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

Kind = TypeVar("Kind")
PLAIN = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}  # as tyro calls them


@cache
def texts(kind: type) -> dict[str, str]:
    """What is written below each option of a class in its source, in one line, by name: the first paragraph of it."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    return {
        name.target.id: " ".join(text.value.value.split("\n\n")[0].split())  # type: ignore[attr-defined, union-attr]
        for name, text in pairwise(definition.body)  # type: ignore[attr-defined]
        if isinstance(name, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def explained(kind: type[Kind], *parts: type) -> type[Kind]:
    """The class, its options and those of `parts`, which are options of it, with their texts for tyro.

    tyro finds these texts by itself, but keeps the line breaks of the source, which fit no terminal.
    """
    for each in (kind, *parts):
        _explain(each)
    return kind


def metavar(hint: Any) -> str | None:
    """What --help calls the value of an option that need not be set, or its own name for it; None: as tyro does.

    tyro calls it {None}|INT; that it may be left out is what the brackets and the default say.
    """
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kinds = [one for one in get_args(kind) if one is not NoneType]
    named = [mark.metavar for mark in marks if getattr(mark, "metavar", None)]
    optional = len(get_args(kind)) == 2 and len(kinds) == 1
    return named[-1] if named else PLAIN.get(kinds[0]) if optional else None


@cache  # once a class: annotations would pile up
def _explain(kind: type) -> None:
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    told = {
        name: Annotated[hints[name], tyro.conf.arg(help=text, metavar=metavar(hints[name]))]
        for name, text in texts(kind).items()
    }
    kind.__annotations__.update(told)
