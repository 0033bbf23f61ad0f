#!/usr/bin/env bash
# What needs a CUDA device, in under 8 minutes: bench/gpu.py (the tests marked gpu first, then how exact and how fast the
# iteration is, and a short training), then an engine of TensorRT, where that is installed
# (pip install 'tensorrt-cu13>=10,<11'). In an environment with recolor-fast[train,dev]: bash bench/gpu.sh [FOLDER]
# `ROWS=1 bash bench/gpu.sh` goes on, for an hour, with the rows that are kept in bench/results.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-gpu}
python -c 'import torch; assert torch.cuda.is_available(), "torch sees no CUDA device"; print(torch.cuda.get_device_name())' || exit 2
failed=0
timeout 375 python bench/gpu.py --seconds 360 --out "$out" || failed=1

if python -c 'import tensorrt'; then
  # An engine of the model that comes with the package: what it differs by, milliseconds and images/s.
  timeout 90 python export/to_tensorrt.py recolor_fast/shipped/colorizer-chroma.onnx --out "$out/chroma.engine" --overwrite || failed=1
else
  echo "skipped: to_tensorrt.py (no package tensorrt)"
fi

if [ -n "${ROWS:-}" ]; then
  python bench/train_step.py --batch 1 16 64 --iterations 10 --runs 7 --waterfall --save || failed=1
  python bench/loader.py --save || failed=1
fi
exit "$failed"
