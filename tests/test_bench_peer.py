"""Timing another implementation: here a small one of the same interface, written by the test."""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import peer, train_step
from recolor_fast.presets import PRESETS
from recolor_fast.resolve import fastest
from recolor_fast.step.iteration import Step

FILES = {
    "data/colorization_dataset.py": "",
    "models/pix2pix_model.py": """
        import torch
        from torch import nn
        from torch.nn.functional import binary_cross_entropy_with_logits as bce

        from bench.peer import OPTIONS
        from dataclasses import replace
        from recolor_fast.networks.critics import build_critic
        from recolor_fast.networks.generators import build_generator

        def towards(score, label):
            return bce(score, torch.full_like(score, label))

        class Pix2PixModel:
            def __init__(self, opt):
                assert opt.isTrain and opt.gpu_ids == [] and opt.device.type == "cpu" and opt.netG == "unet_128"
                same = replace(OPTIONS, size=128, width=opt.ngf)
                self.opt = opt
                self.netG, self.netD = build_generator(same), build_critic(same).scales[0]
                betas = (opt.beta1, 0.999)
                self.adams = [torch.optim.Adam(n.parameters(), opt.lr, betas) for n in (self.netG, self.netD)]
                self.steps = 0
                torch.backends.cudnn.benchmark = True

            def setup(self, opt):
                print("ready")

            def set_input(self, given):
                assert torch.backends.cudnn.benchmark
                assert given["A"].shape == (opt_batch(self), 1, 128, 128) and given["A"].abs().max() <= 1
                assert len(given["A_paths"]) == opt_batch(self)
                self.a, self.b = given["A"], given["B"]

            def optimize_parameters(self):
                self.steps += 1
                fake = self.netG(self.a)
                critic_loss = towards(self.netD(torch.cat((self.a, fake.detach()), 1)), 0.0)
                critic_loss = critic_loss + towards(self.netD(torch.cat((self.a, self.b), 1)), 1.0)
                gradients = torch.autograd.grad(critic_loss / 2, list(self.netD.parameters()))
                for parameter, gradient in zip(self.netD.parameters(), gradients):
                    parameter.grad = gradient
                self.adams[1].step()
                loss = self.opt.lambda_L1 * (fake - self.b).abs().mean()
                loss = loss + towards(self.netD(torch.cat((self.a, fake), 1)), 1.0)
                gradients = torch.autograd.grad(loss, list(self.netG.parameters()))
                for parameter, gradient in zip(self.netG.parameters(), gradients):
                    parameter.grad = gradient
                self.adams[0].step()

        def opt_batch(model):
            return model.opt.batch_size
        """,
    "models/colorization_model.py": "from .pix2pix_model import Pix2PixModel as ColorizationModel",
    "models/__init__.py": """
        def create_model(opt):
            from .colorization_model import ColorizationModel

            print("created")
            return ColorizationModel(opt)
        """,
    "options/train_options.py": """
        import argparse

        import models  # as the real one does

        class TrainOptions:
            def gather_options(self):
                parser = argparse.ArgumentParser()
                for name in "dataroot name model dataset_mode netG netD norm gan_mode".split():
                    parser.add_argument("--" + name, required=True)
                for name in "batch_size ngf ndf".split():
                    parser.add_argument("--" + name, type=int, required=True)
                for name in "lr beta1 lambda_L1".split():
                    parser.add_argument("--" + name, type=float, required=True)
                return parser.parse_args()
        """,
}
SMALL = replace(peer.OPTIONS, size=128, width=4, compile="off", channels_last="off", device="cpu")
CPU = torch.device("cpu")


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


def batch(size: int = 1):
    gray = torch.randint(0, 256, (size, 1, 128, 128), dtype=torch.uint8)
    return gray, gray.expand(-1, 3, -1, -1).contiguous()


@pytest.mark.slow
def test_the_peer_is_timed_beside_ours_on_the_same_networks_and_objective(checkout, capsys):
    state = list(sys.path), list(sys.argv), torch.backends.cudnn.benchmark
    rows = peer.measure(checkout, replace(SMALL, batch=2), 1, 1)
    assert [row["name"] for row in rows] == ["peer", "paper", "ours float32", "ours"]
    named = {row["name"]: row for row in rows}
    for row in rows:
        assert row["case"] == "pix2pix-lab peer 128 b2"
        assert row["ms"] > 0
        assert row["ratio"] == pytest.approx(named["paper"]["ms"] / row["ms"])
        assert row["peer_ratio"] == pytest.approx(named["peer"]["ms"] / row["ms"])
        assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
    assert all(named[name]["critic_error"] < 1e-5 for name in ("peer", "paper", "ours float32"))
    assert capsys.readouterr().out == ""  # what it prints goes to stderr
    assert (sys.path, sys.argv, torch.backends.cudnn.benchmark) == state
    assert not {"models", "options", "data", "models.pix2pix_model"} & set(sys.modules)
    assert not list(checkout.rglob("__pycache__"))


def test_the_step_trains_the_peers_own_model_from_the_given_weights(checkout):
    ours = Step(fastest(SMALL, CPU), [], CPU)
    run = peer.peer_step(checkout, SMALL, CPU, batch(), ours)
    model = run.args[0].model
    pairs = list(zip(model.netG.parameters(), ours.generator.parameters(), strict=True))
    assert all(torch.equal(theirs, own) for theirs, own in pairs)
    run()
    run()
    assert model.steps == 2
    assert not torch.equal(*pairs[0])


def test_modules_of_the_same_name_are_neither_used_nor_lost(checkout, monkeypatch):
    own = type(sys)("models")
    monkeypatch.setitem(sys.modules, "models", own)
    peer.build_peer(checkout, SMALL, CPU)
    assert sys.modules["models"] is own


def test_other_networks_are_refused(checkout):
    found = peer.build_peer(checkout, SMALL, CPU)
    with pytest.raises(ValueError, match=r"its generator has \d+ parameters, ours \d+: not the same network"):
        peer.copy_weights(found, Step(fastest(replace(SMALL, width=8), CPU), [], CPU))


def test_a_batch_is_in_its_normalization():
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    blue = torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None].expand(1, 3, 2, 2)
    found = peer.lab_batch((white[:, :1], torch.cat((white, blue))))
    assert found["A"][:, 0, 0, 0].tolist() == pytest.approx([1, 32.30 / 50 - 1], abs=1e-3)
    assert found["B"][1, :, 0, 0].tolist() == pytest.approx([79.19 / 110, -107.86 / 110], abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 64}, "size 64: the peer has U-Nets for 128, 256, 512"),
        ({"adversary": "wgan"}, "adversary 'wgan': the peer trains with 'bce'"),
        ({"terms": PRESETS["pix2pix-lab"].terms}, "nothing else beside its adversary"),
    ],
)
def test_a_system_it_does_not_have_is_an_error(checkout, changes, message):
    with pytest.raises(ValueError, match=message):
        peer.build_peer(checkout, replace(SMALL, **changes), CPU)


def test_a_folder_that_is_no_checkout_is_an_error(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"lacks data/colorization_dataset\.py, models"):
        peer.build_peer(tmp_path, SMALL, CPU)
    assert train_step.main(["--peer", str(tmp_path), "--size", "128", "--width", "4", "--device", "cpu"]) == 2
    assert "expected a checkout of junyanz/pytorch-CycleGAN-and-pix2pix" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import package_that_nobody_has", "needs the package package_that_nobody_has"),
        ("from models import nothing_there", "cannot be imported"),
        ("import util.nothing", "cannot be imported"),
    ],
)
def test_what_it_cannot_import_is_named(checkout: Path, line, message):
    with open(checkout / "options" / "train_options.py", "a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ValueError, match=message):
        peer.build_peer(checkout, SMALL, CPU)
    assert str(checkout.resolve()) not in sys.path


def test_options_it_does_not_take_are_an_error(checkout):
    path = checkout / "options" / "train_options.py"
    path.write_text(path.read_text().replace("gan_mode", "objective"))
    with pytest.raises(ValueError, match="does not take the options --model colorization"):
        peer.build_peer(checkout, SMALL, CPU)
