"""Checks of what is installed and of the machine: nothing is imported that could fail. Standard library, packaging."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from recolor_fast.doctor.findings import Finding
from recolor_fast.machine import extras, memory, processors
from recolor_fast.machine.files import SHIPPED, NotPrivate, cache_folder, private

PYTHON = "3.11.4"
PROJECT = extras.CHECKOUT.with_name("pyproject.toml")
DEVELOPING = ("dev", "engines")  # extras for those who work on this package
# What makes one think that an extra is meant to be whole; of the others each package has a use of its own.
LEADERS = {"train": "torch", "serve": "fastapi", "scale": "ray"}
FILES = {  # what comes with the package, and what needs it
    "colorizer-chroma.onnx": "colorize",
    "colorizer-image.onnx": "programs of one's own",
    "colorizer-hints.onnx": "serve, web and colorize --hints",
    "colorizer.safetensors": "train --start shipped",
    "lpips_mini.safetensors": "train, where the weights of LPIPS are missing",
}
HEADERS = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"  # Debian's package of this Python's
LOW = 2 * 2**30  # bytes, of memory or disk: what training takes at 256 pixels, and its checkpoints


def python() -> Iterator[Finding]:
    """Python's version, and the system."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    if Version(platform.python_version()) < Version(PYTHON):
        mend = "install Python 3.11.4 or later, then make a new environment: python3 -m venv .venv"
        yield Finding("python", "fault", f"{found}: {PYTHON} or later is needed", mend, facts)
    else:
        yield Finding("python", "ok", found, facts=facts)


def wanted() -> dict[str, list[Requirement]]:
    """What this package asks for, by extra, "" without any: of its checkout, else of what was installed."""
    if PROJECT.exists():
        project = tomllib.loads(PROJECT.read_text())["project"]
        texts = {"": project["dependencies"], **project["optional-dependencies"]}
        return {extra: [Requirement(text) for text in listed] for extra, listed in texts.items()}
    told = metadata.metadata("recolor-fast")
    needs = [Requirement(text) for text in told.get_all("Requires-Dist") or []]
    found: dict[str, list[Requirement]] = {}
    for extra in ("", *(told.get_all("Provides-Extra") or [])):
        found[extra] = [one for one in needs if _only_for(one, extra)]
    return found


def _only_for(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    if "extra ==" not in str(marker):
        return not extra
    return bool(extra) and f'extra == "{extra}"' in str(marker)


def _here(requirement: Requirement, extra: str) -> bool:
    """Whether it is asked for on this platform."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _optional(requirement: Requirement) -> bool:
    """What is asked for on some platforms alone, an extra does without."""
    return "platform" in str(requirement.marker)


def version(name: str) -> str:
    """Of an installed package, empty where it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def versions() -> Iterator[Finding]:
    """The packages whose versions are older than this one takes, and what coloring lacks."""
    needs = {extra: some for extra, some in wanted().items() if extra not in DEVELOPING}
    bad = 0
    for requirement in needs[""]:
        if not version(requirement.name):
            bad += 1
            mend = extras.advice(extras.fitting())
            yield Finding(requirement.name, "fault", "not installed: nothing works without it", mend)
    known: dict[str, str] = {}
    for requirement in (one for some in needs.values() for one in some):
        have = version(requirement.name)
        if have:
            known[canonicalize_name(requirement.name)] = have
        if have and not requirement.specifier.contains(have, prereleases=True):
            bad += 1
            wanted_now = str(requirement).partition(";")[0].strip()  # without what platforms it is for
            mend = f"pip install {shlex.quote(wanted_now)}"
            yield Finding(requirement.name, "fault", f"{have}, where {requirement.specifier} is asked for", mend)
    own = version("recolor-fast") or "not installed, run from its folder"
    if not bad:
        found = f"recolor-fast {own}; {len(known)} packages that it asks for, none too old"
        yield Finding("versions", "ok", found, facts={"recolor-fast": own} | known)


def parts() -> Iterator[Finding]:
    """The packages of which files are missing or libraries cut, by the list that pip made of them."""
    names = {canonicalize_name(one.name) for some in wanted().values() for one in some if version(one.name)}
    bad = 0
    for name in sorted(names):
        lacking = [path for path in metadata.files(name) or [] if path.suffix != ".pyc" and not _whole_file(path)]
        if lacking:
            bad += 1
            more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            yield Finding(name, "fault", f"damaged: {lacking[0]} is missing or cut{more}", extras.reinstall(name))
    if not bad:
        yield Finding("files of packages", "ok", f"all there, of {len(names)} packages")


def _whole_file(path: metadata.PackagePath) -> bool:
    """Whether a file of a package is there, a compiled one in its size."""
    place = path.locate()
    return os.path.exists(place) and (".so" not in path.suffixes or path.size in (None, os.path.getsize(place)))


def wholes() -> Iterator[Finding]:
    """Which extras are whole."""
    for name, asked in wanted().items():
        if name not in ("", *DEVELOPING, *extras.RUNTIMES.values()):  # of the last, see `runtimes`
            yield _whole(name, [one for one in asked if _here(one, name)])


def _whole(name: str, asked: list[Requirement]) -> Finding:
    lacking = [one.name for one in asked if not version(one.name)]
    facts = {"lacking": lacking}
    if not lacking:
        whole = f"all {len(asked)} packages" if len(asked) > 1 else "its package"
        return Finding(f"extra {name}", "ok", whole, facts=facts)
    begun = version(LEADERS[name]) if name in LEADERS else len(lacking) < len(asked)
    broken = begun and name in LEADERS and any(not _optional(one) for one in asked if one.name in lacking)
    found = f"lacks {', '.join(lacking)}" if begun else "not installed"
    return Finding(f"extra {name}", "fault" if broken else "absent", found, extras.advice(name), facts)


def runtimes() -> Iterator[Finding]:
    """That exactly one of the packages that bring onnxruntime is installed."""
    have = {name: version(name) for name in extras.RUNTIMES if version(name)}
    if reason := extras.no_onnxruntime():
        found, _, mend = reason.partition("; ")
        yield Finding("onnxruntime", "fault", found, mend, {"installed": have})
        return
    found = ", ".join(f"{name} {number}" for name, number in have.items()) or "of no package that pip knows"
    yield Finding("onnxruntime", "ok", found, facts={"installed": have})


def files() -> Iterator[Finding]:
    """The models and weights that come with the package."""
    missing = [name for name in FILES if not (SHIPPED / name).is_file()]
    for name in missing:
        found = f"missing in {SHIPPED}: {FILES[name]} needs it"
        yield Finding(name, "fault", found, extras.reinstall_own())
    if not missing:
        yield Finding("models", "ok", f"the {len(FILES)} files of {SHIPPED}")


def compiler() -> Iterator[Finding]:
    """The C++ compiler that torch.compile uses, and Python's headers, which it needs as well."""
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    what = "only train --compile on needs it, and a training on a GPU"
    mend = "unset CXX" if "CXX" in os.environ and shutil.which("g++") else "sudo apt-get install g++"
    if not path:
        yield Finding("C++ compiler", "absent", f"no {name}: {what}", mend)
        return
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    line = (told.stdout or told.stderr).strip().splitlines()
    if told.returncode or not line:
        yield Finding("C++ compiler", "fault", f"{path} does not say its version", mend)
    elif not (headers := Path(sysconfig.get_path("include"), "Python.h")).is_file():
        found = f"{line[0]}, without Python's headers (Python.h): {what}"
        debian = headers.is_relative_to("/usr/include")
        mend = f"sudo apt-get install {HEADERS}" if debian else "install a Python that has them"
        yield Finding("C++ compiler", "absent", found, mend)
    else:
        yield Finding("C++ compiler", "ok", line[0], facts={"path": path})


def machine() -> Iterator[Finding]:
    """Processors and memory that this process may use."""
    count, all_of_them = processors.threads(), os.cpu_count() or 1
    amx = ", with matrix units for bfloat16 (AMX)" if processors.matrix_units() else ""
    yield Finding("processors", "ok", f"{count} of {all_of_them}{amx}", facts={"usable": count})
    free = memory.available()
    if free is None:
        yield Finding("memory", "ok", "the system does not say how much is free")
        return
    facts = {"free": free}
    if free < LOW:
        mend = "end what takes it, or train with --micro-batch 1 or a smaller --size or --width"
        yield Finding("memory", "fault", f"{_gigabytes(free)} free: training at 256 pixels takes 2", mend, facts)
    else:
        yield Finding("memory", "ok", f"{_gigabytes(free)} free", facts=facts)


def disks() -> Iterator[Finding]:
    """Room where runs, the cache and temporary files go."""
    places = {
        "disk": (Path.cwd(), "let --runs, OUT and --out be folders on another disk"),
        "disk of the cache": (cache_folder(), "set RECOLOR_FAST_CACHE to a folder on another disk"),
        "disk of temporary files": (Path(tempfile.gettempdir()), "set TMPDIR to a folder on another disk"),
    }
    for name, (place, mend) in places.items():
        folder = next(one for one in (place, *place.absolute().parents) if one.is_dir())
        free = shutil.disk_usage(folder).free
        facts = {"folder": str(place), "free": free}
        state = f"{_gigabytes(free)} free for {place}"
        if not os.access(folder, os.W_OK):
            mend = f"chmod u+w {shlex.quote(str(folder))}, or {mend}"
            yield Finding(name, "fault", f"{folder} cannot be written", mend, facts)
        elif free < LOW:
            yield Finding(name, "fault", f"{state}: checkpoints alone take 2", f"make room, or {mend}", facts)
        else:
            yield Finding(name, "ok", state, facts=facts)


def cache() -> Iterator[Finding]:
    """That the cache's folders of native code and weights, where they are, are this user's alone."""
    folder = cache_folder()
    bad = 0
    for name in ("compiled", "tensorrt", "weights", "downloads"):
        if (folder / name).exists():
            try:
                private(folder / name)
            except NotPrivate as error:
                bad += 1
                place = shlex.quote(str(folder / name))
                mend = f"rm -r {place}, or, if only you ever wrote to it: chmod 700 {place}"
                yield Finding(f"cache {name}", "fault", f"{error}, and what is in it is trusted", mend)
    if not bad:
        yield Finding("cache", "ok", f"{folder}{'' if folder.is_dir() else ', not made yet'}")


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
