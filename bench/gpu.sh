#!/usr/bin/env bash
# Everything that needs a CUDA device, in one go: tests marked gpu, then both benchmarks; JSON lines go to the folder $1.
# Usage, in an environment with recolor-fast[train,dev]: bash bench/gpu.sh results-folder
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?give a folder for the JSON lines}
mkdir -p "$out"
python -c 'import torch; assert torch.cuda.is_available(), "torch sees no CUDA device"; print(torch.cuda.get_device_name())'
python -m pytest -q -m gpu
python bench/train_step.py --batch 1 16 --iterations 10 --runs 7 >"$out/train_step.json"
python bench/loader.py >"$out/loader.json"
