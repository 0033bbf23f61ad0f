"""The extras of pyproject.toml: which of them brings a module that is missing, and what to type then."""

import ctypes
import json
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).parents[2] / "constraints.txt"  # what is beside the package in a checkout alone
MODULES = {  # of each extra, by the names they are imported by
    "train": "torch torchvision lpips safetensors segmentation_models_pytorch skimage torchmetrics torch_fidelity "
    "matplotlib onnx onnxscript nvidia tensorboard",
    "serve": "fastapi starlette uvicorn python_multipart prometheus_client scipy pydantic",
    "cpu": "onnxruntime",
    "scale": "ray pyarrow pandas",
    "video": "av",
    "hub": "huggingface_hub",
}
SHARED = {"nvidia": "nvidia-dali-"}  # a module of many packages: how the names begin of those that an extra brings


def advice(extra: str) -> str:
    """The command that installs an extra beside what is there already, of a checkout or of an installed wheel."""
    if CHECKOUT.exists():
        return f"{pip()} -e {shlex.quote(f'{CHECKOUT.parent}[{extra}]')}"
    return f"pip install 'recolor-fast[{extra}]'"


def pip() -> str:
    """How a command that installs something begins: in a checkout with its constraints, from any folder."""
    return f"pip install{f' -c {shlex.quote(str(CHECKOUT))}' if CHECKOUT.exists() else ''}"


def lacking(module: str) -> str:
    """One sentence for a module that cannot be found, and what to type; empty where it is no part of what is installed
    and no extra brings it."""
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return f"this Python lacks {module}, a part of its standard library; install a Python that has it"
    if package := damaged(module):
        return f"{package} is damaged, it lacks {module}; {reinstall(package)}"
    extras = [extra for extra, names in MODULES.items() if top in names.split()]
    return f"{module if top in SHARED else top} is not installed; {advice(extras[0])}" if extras else ""


def damaged(module: str) -> str:
    """What a module that cannot be found is part of: "Python", or an installed package; empty where it is of none, and
    for one of this project, where it is a mistake."""
    top, *below = module.split(".")
    if top in sys.stdlib_module_names:
        return "Python"
    if not below or top == __name__.split(".")[0]:
        return ""
    spec = find_spec(top)
    if top not in SHARED and (spec is None or spec.origin is None):  # not there, or of many packages
        return ""
    packages = packages_distributions().get(top, [])
    return next((package for package in packages if package.startswith(SHARED.get(top, ""))), "")


def owner(error: ImportError) -> str:
    """The installed package that cannot be imported, by its file: of a library the name is that of the library alone.

    Empty where it is of none, or of this project.
    """
    path = Path(error.path or "")
    folders = [Path(place) for place in sys.path if place and path.is_relative_to(place)]
    parts = path.relative_to(max(folders, key=lambda one: len(one.parts))).parts if folders else ()
    top = (parts or ((error.name or ""),))[0].split(".")[0]
    return "" if top == __name__.split(".")[0] else next(iter(packages_distributions().get(top, [])), "")


def reinstall(packages: str) -> str:
    """The command that installs packages (names, with spaces between) again in their versions, and what they need.

    Packages that are in order stay as they are, and where a version is missing nothing changes. Versions such as torch
    2.14.1+cpu come from an index of their own. Of onnxruntime's packages it is the one that is installed.
    """
    exact = [exactly(here(package)) for package in packages.split()]
    source = "with the index of packages that it came from: " if any("+" in name for name in exact) else ""
    names = " ".join(exact)
    return f"{source}{pip()} --force-reinstall --no-deps {names} && {pip()} {names}"


def exactly(package: str) -> str:
    """pip's word for a package in its installed version."""
    return f"{package}=={found}" if (found := _installed(package)) else package


def here(package: str) -> str:
    """A package, or the one of RUNTIMES that is installed in its place."""
    return next(filter(_installed, RUNTIMES), package) if package in RUNTIMES else package


def reinstall_own() -> str:
    """The command that brings the files of this project again."""
    if CHECKOUT.exists():
        return f"git -C {shlex.quote(str(CHECKOUT.parent))} checkout -- recolor_fast"
    told = distribution("recolor-fast").read_text("direct_url.json") if _installed("recolor-fast") else None
    source = json.loads(told)["url"] if told else "recolor-fast"
    return f"pip install --force-reinstall --no-deps {shlex.quote(source)}"


RUNTIMES = {"onnxruntime": "cpu", "onnxruntime-gpu": "gpu"}  # packages of one module, and the extras that bring them
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def fitting() -> str:
    """The extra that brings onnxruntime to this environment: of the package that is there, else of this machine.

    That is gpu where NVIDIA's driver and a wheel of onnxruntime-gpu for the platform are, cpu elsewhere.
    """
    installed = [extra for package, extra in RUNTIMES.items() if _installed(package)]
    if installed:
        return installed[0]
    wheels = sys.platform in ("linux", "win32") and platform.machine() in ("x86_64", "AMD64")
    return "gpu" if wheels and not nvidia_driver() else "cpu"


def no_onnxruntime() -> str:
    """Why onnxruntime cannot be used and what to do, in one sentence; empty where one of its packages is installed.

    Where both are, each has overwritten files of the other, and which ones work is a matter of luck.
    """
    installed = [name for name in RUNTIMES if _installed(name)]
    if len(installed) > 1:
        names = " ".join(installed)
        which = RUNTIMES[installed[not nvidia_driver()]]
        return (
            f"{' and '.join(installed)} are both installed and overwrite each other's files; pip uninstall -y {names} "
            f"&& {advice(which)}"
        )
    if installed or find_spec("onnxruntime"):
        return ""
    return f"onnxruntime, which runs the model, is not installed; {advice(fitting())}"


def _installed(package: str) -> str:
    """Which version is installed, empty where none is."""
    try:
        return version(package) or ""
    except PackageNotFoundError:
        return ""


def nvidia_driver() -> str:
    """Why the library of NVIDIA's driver cannot be loaded, in the system's words; empty where it can."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError as error:
        return str(error)
    return ""


if __name__ == "__main__":  # of the Makefile
    sys.exit(no_onnxruntime()) if all(map(_installed, RUNTIMES)) else print(fitting())
