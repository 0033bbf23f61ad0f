"""What --help says of each option: the first paragraph of the text below it in the source, in lines of any length."""

import ast
import inspect
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

Kind = TypeVar("Kind")


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


@cache  # once a class: annotations would pile up
def _explain(kind: type) -> None:
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    told = {name: Annotated[hints[name], tyro.conf.arg(help=text)] for name, text in texts(kind).items()}
    kind.__annotations__.update(told)
