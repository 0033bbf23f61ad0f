#!/usr/bin/env bash
# Everything that needs a CUDA device, in one go: the tests marked gpu, the benchmarks, whose rows go to bench/results, and
# engines of TensorRT, where it is installed (pip install 'tensorrt-cu13>=10,<11'). bench/gpu.py has the most of it in minutes.
# In an environment with recolor-fast[train,dev]: bash bench/gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
python -c 'import torch; assert torch.cuda.is_available(), "torch sees no CUDA device"; print(torch.cuda.get_device_name())'
python -m pytest -q -m gpu
python bench/train_step.py --batch 1 16 64 --iterations 10 --runs 7 --waterfall --save
python bench/loader.py --save

if python -c 'import tensorrt'; then
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  python -m recolor_fast.train --preset pix2pix --data sample --images 20 --samples 1 --lpips off --runs "$place" --name run
  python export/to_onnx.py "$place/run" --out "$place/model.onnx"
  python export/to_tensorrt.py "$place/model.onnx" # prints what it differs by, milliseconds and images/s
  python -m recolor_fast.colorize "$place/run/samples" "$place/colored" --color recolor --model "$place/model.onnx" --provider tensorrt
else
  echo "skipped: to_tensorrt.py and the provider tensorrt (no package tensorrt)"
fi
