"""Colorizer.from_pretrained and push: folders, and a stand-in for the Hugging Face Hub on loopback."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recolor_fast import Colorizer
from recolor_fast.artefact import card
from recolor_fast.machine.errors import UserError
from tests import artefacts, hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
GRAY = np.full((8, 9), 90, np.uint8)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "none")
    with hub.serving() as one:
        monkeypatch.setenv("HF_ENDPOINT", one.address)
        yield one


def test_a_folders_only_model_is_taken(model):
    assert Colorizer.from_pretrained(model.parent, provider="cpu").path == model
    other = artefacts.constant(model.with_name("other.onnx"))
    with pytest.raises(UserError, match=r"expected one \.onnx file.*there: other\.onnx, sepia\.onnx"):
        Colorizer.from_pretrained(model.parent)
    assert Colorizer.from_pretrained(str(model.parent), file="other.onnx", saturation=2.0).path == other
    with pytest.raises(UserError, match=r"no none\.onnx"):
        Colorizer.from_pretrained(model.parent, file="none.onnx")
    with pytest.raises(UserError, match="a folder, which has none"):
        Colorizer.from_pretrained(model.parent, revision="main")


def test_what_is_pushed_comes_back_by_its_commit(there, model):
    pushed = Colorizer(model, provider="cpu")
    commit = pushed.push("me/sepia", private=True)
    [files] = there.commits["me/sepia"]
    assert files == {"sepia.onnx": model.read_bytes(), "README.md": files["README.md"]}
    assert card.unedited(files["README.md"].decode())
    artefacts.constant(model, (60, 60))
    newer = Colorizer(model, provider="cpu").push("me/sepia")
    assert newer != commit
    for revision, cbcr, told in ((commit, artefacts.SEPIA, commit), (None, (60, 60), newer)):
        found = Colorizer.from_pretrained("me/sepia", revision=revision, provider="cpu")
        assert found.revision == told
        assert found.artefact.chroma(GRAY)[:, 0, 0].tolist() == list(cbcr)


def test_a_card_that_somebody_has_edited_stays(there, model, capsys):
    colorizer = Colorizer(model, provider="cpu")
    colorizer.push("me/sepia")
    there.commits["me/sepia"][-1]["README.md"] += b"trained on my photographs\n"
    colorizer.push("me/sepia")
    assert there.commits["me/sepia"][-1]["README.md"].endswith(b"my photographs\n")
    assert "the card of me/sepia has been edited" in capsys.readouterr().err
    card.path_of(model).write_text("my own")
    colorizer.push("me/sepia")
    assert there.commits["me/sepia"][-1]["README.md"] == b"my own"


def test_a_new_branch_keeps_the_edited_card_of_the_one_it_begins_with(there, model, capsys):
    colorizer = Colorizer(model, provider="cpu")
    colorizer.push("me/sepia")
    there.commits["me/sepia"][-1]["README.md"] += b"trained on my photographs\n"
    assert colorizer.push("me/sepia", revision="v2") != colorizer.push("me/sepia", revision="v2")
    assert len(there.commits["me/sepia"]) == 1
    assert there.commits["me/sepia@v2"][-1]["README.md"].endswith(b"my photographs\n")
    assert capsys.readouterr().err.count("the card of me/sepia has been edited") == 2


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"lfs": {"size": 9, "sha256": "0" * 64, "pointerSize": 1}}, r"bytes, not 9"),
        ({"lfs": None, "blobId": "0" * 40}, "its hash is"),
    ],
)
def test_another_file_than_the_hub_tells_of_is_refused(there, model, told, reason):
    there.commits["me/sepia"] = [{"sepia.onnx": model.read_bytes()}]
    there.told = told
    with pytest.raises(UserError, match=reason):
        Colorizer.from_pretrained("me/sepia")


def test_what_the_hub_does_not_have_is_one_line(there, model):
    there.commits["me/sepia"] = [{"README.md": b""}]
    for repo, revision, reason in (
        ("me/none", None, "did not answer as expected"),
        ("me/sepia", "v1", "did not answer as expected"),
        ("me/sepia", None, "there: none"),
        ("no repository", None, "did not answer as expected"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            Colorizer.from_pretrained(repo, revision=revision)
        assert "\n" not in str(error.value)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface_hub is not installed; .*\[hub\]"):
        Colorizer.from_pretrained("me/none")


def test_a_package_that_lacks_a_part_of_itself_is_damaged(monkeypatch):
    import huggingface_hub

    monkeypatch.delitem(vars(huggingface_hub), "HfApi", raising=False)  # it is imported when it is first named
    monkeypatch.setitem(sys.modules, "huggingface_hub.hf_api", None)
    with pytest.raises(UserError, match=r"is damaged, it lacks huggingface_hub.hf_api"):
        Colorizer.from_pretrained("me/none")


def test_the_packages_own_is_not_pushed():
    with pytest.raises(UserError, match="in every install"):
        Colorizer(provider="cpu").push("me/none")
