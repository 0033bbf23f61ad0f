"""What other programs may call: names, arguments and types, which only a new version may change."""

import inspect
import subprocess
import sys
from typing import get_type_hints

import recolor_fast
from recolor_fast import Colorizer, Hint, load_run, train
from recolor_fast.runs.learned import Trained

SIGNATURES = {
    Colorizer: "path provider threads upsample saturation keep_tone warmth strength restore negative",
    Colorizer.__call__: "self image hints",
    Colorizer.folder: "self input output hints **settings",
    Colorizer.film: "self input output codec temporal **settings",
    Colorizer.palette: "self image x y count",
    Colorizer.from_pretrained: "source revision file **settings",
    Colorizer.push: "self repo revision private",
    Hint: "x y color radius",
    load_run: "run best",
    train.train: "options resume epochs",
}


def test_the_public_names():
    assert recolor_fast.__all__ == ["Colorizer", "Hint", "load_run", "runtime"]
    assert train.__all__ == ["train"]
    assert set(recolor_fast.__all__) <= set(dir(recolor_fast))
    assert all(inspect.getdoc(getattr(recolor_fast, name)) for name in recolor_fast.__all__)


def test_their_arguments_are_documented_and_typed():
    for call, names in SIGNATURES.items():
        parameters = inspect.signature(call).parameters.values()
        assert " ".join(str(one).split(":")[0].split("=")[0] for one in parameters) == names
        assert inspect.getdoc(call)
        assert all(one.annotation is not one.empty for one in parameters if one.name != "self")


def test_a_run_is_its_networks_options_and_photographs_seen():
    assert Trained._fields == ("options", "generator", "critic", "images")
    assert get_type_hints(load_run)["return"] is Trained


def test_neither_torch_nor_the_hub_is_imported_to_color():
    program = (
        "import sys; from recolor_fast import Colorizer, Hint; import recolor_fast.colorize; "
        "print({'torch', 'huggingface_hub'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
