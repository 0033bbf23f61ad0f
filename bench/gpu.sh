#!/usr/bin/env bash
# Everything that needs a CUDA device, in one go: the tests marked gpu, then the benchmarks, whose rows go to bench/results.
# In an environment with recolor-fast[train,dev]: bash bench/gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
python -c 'import torch; assert torch.cuda.is_available(), "torch sees no CUDA device"; print(torch.cuda.get_device_name())'
python -m pytest -q -m gpu
python bench/train_step.py --batch 1 16 64 --iterations 10 --runs 7 --waterfall --save
python bench/loader.py --save
