"""Verb: the page that colors photographs, as files for any static web host; all work is done in the browser.

    python -m recolor_fast.web OUT [--model FILE.onnx] [--onnxruntime-web FILE.tgz]

docs/web.md says how to host it.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.web.__main__", arguments="web")

from recolor_fast.arguments.web import parse
from recolor_fast.machine import starting
from recolor_fast.machine.files import print_path, say
from recolor_fast.web import models, site


@starting.verb(told={OSError: 2})
def main(argv: list[str]) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    arguments = parse(argv)
    site.check(arguments.out)
    contents = site.contents([*models.rows(arguments.model)], arguments.onnxruntime_web)
    site.write(arguments.out, contents)
    say(f"{len(contents)} files, {sum(map(len, contents.values())) / 1e6:.0f} MB; any static web host can serve them")
    print_path(arguments.out)
    return 0
