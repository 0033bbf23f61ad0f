"""The checks of doctor, and the parts of benchmark, by group: those of a group share a process, see apart.py.

What needs torch is in the last group alone: coloring must work without it, and is looked at so.
"""

from typing import Any

from recolor_fast.doctor.findings import Check

INSTALLED, COLORING, TRAINING, LOADING, SPEED = (
    f"recolor_fast.doctor.{name}" for name in ("installed", "coloring", "training", "loading", "speed")
)
GROUPS: tuple[tuple[Check, ...], ...] = (
    (
        Check("python", f"{INSTALLED}.python"),
        Check("versions", f"{INSTALLED}.versions", package="packaging"),
        Check("files of packages", f"{INSTALLED}.parts", package="packaging"),
        Check("onnxruntime", f"{INSTALLED}.runtimes"),
        Check("extras", f"{INSTALLED}.wholes", package="packaging"),
        Check("models", f"{INSTALLED}.files"),
        Check("machine", f"{INSTALLED}.machine"),
        Check("disks", f"{INSTALLED}.disks"),
        Check("cache", f"{INSTALLED}.cache"),
        Check("C++ compiler", f"{INSTALLED}.compiler"),
        Check("formats", f"{COLORING}.formats", package="pillow opencv-python-headless simplejpeg numpy"),
        Check("format HEIF", f"{COLORING}.library", ("HEIF",), "pillow-heif"),
        Check("format JXL", f"{COLORING}.library", ("JXL",), "pillow-jxl-plugin"),
        Check("format RAW", f"{COLORING}.library", ("RAW",), "rawpy"),
        Check("films", f"{COLORING}.films", package="av"),
        Check("NVIDIA driver", f"{COLORING}.driver"),
        Check("providers", f"{COLORING}.listed", package="onnxruntime", needs="onnxruntime"),
        Check("provider cpu", f"{COLORING}.provider", ("cpu",), "onnxruntime", "onnxruntime"),
        Check("provider openvino", f"{COLORING}.provider", ("openvino",), "openvino", "onnxruntime"),
        Check("provider cuda", f"{COLORING}.provider", ("cuda",), "onnxruntime-gpu", "onnxruntime"),
        Check("TensorRT", f"{COLORING}.tensorrt", package="onnxruntime-gpu", needs="onnxruntime"),
        # which builds an engine, once, for minutes
        Check("provider tensorrt", f"{COLORING}.provider", ("tensorrt",), "onnxruntime-gpu", "TensorRT", 300.0),
    ),
    (
        Check("torch", f"{TRAINING}.of_torch", package="torch"),
        Check("torchvision", f"{TRAINING}.of_torchvision", package="torchvision", needs="torch"),
        Check("bfloat16", f"{TRAINING}.bfloat16", package="torch", needs="torch"),
        Check("CUDA graphs", f"{TRAINING}.cuda_graphs", package="torch", needs="torch"),
        Check("DALI on the CPU", f"{LOADING}.decodes", ("cpu",), "nvidia-dali-cuda130", "torch"),
        Check("DALI on the GPU", f"{LOADING}.decodes", ("gpu",), "nvidia-dali-cuda130", "torch"),
        Check("torch.compile", f"{TRAINING}.compiles", package="torch", needs="torch", seconds=180.0),
        Check("weights", f"{LOADING}.weights", needs="torch"),
        Check("Imagenette", f"{LOADING}.photographs", needs="torch"),
    ),
)

TRAINED = ("wgan-gp-lpips", "pix2pix", "fine-tune")  # the presets that are timed


def speeds(seconds: float, quick: bool) -> tuple[tuple[Check, ...], ...]:
    """The parts of benchmark, each measured for so many seconds; `quick`: of small networks, to see that all works."""

    def part(name: str, function: str, *arguments: Any, package: str = "torch", needs: str = "torch") -> Check:
        return Check(name, f"{SPEED}.{function}", (*arguments, seconds, quick), package, needs, 300.0)

    return (
        (
            Check("other work", f"{SPEED}.other_work"),
            Check("onnxruntime", f"{INSTALLED}.runtimes"),
            part("color int8", "color_shipped", package="onnxruntime", needs="onnxruntime"),
            part("color a folder", "color_folder", package="onnxruntime", needs="onnxruntime"),
        ),
        (
            Check("torch", f"{TRAINING}.of_torch", package="torch"),
            part("load host", "load", "host"),
            part("load dali", "load", "dali", package="nvidia-dali-cuda130"),
            *(part(f"train {preset}", "train", preset) for preset in TRAINED),
            Check("onnxruntime", f"{INSTALLED}.runtimes"),
            *(part(f"color {precision}", "color_exported", precision) for precision in ("fp32", "fp16")),
        ),
    )
