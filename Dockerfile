# Two images of one file, without root, on the CPU:
#     docker build --target serve -t recolor-fast .
#     docker build --target train -t recolor-fast-train .
# With an NVIDIA GPU, whose CUDA libraries a base image has to bring:
#     --build-arg BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 --build-arg RUNTIME=gpu
# docs/serving.md says how they are run.

ARG BASE=python:3.11-slim
# hadolint ignore=DL3006
FROM ${BASE} AS base
# The extra that brings onnxruntime: cpu or gpu.
ARG RUNTIME=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
# Where the base brings no Python, its distribution's.
# hadolint ignore=DL3008
RUN command -v python3 || { \
      apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*; \
    }
RUN python3 -m venv /opt/recolor_fast \
    && groupadd --gid 10001 recolor \
    && useradd --create-home --uid 10001 --gid 10001 recolor \
    && install -d -o recolor -g recolor -m 0700 /state /runs
ENV PATH=/opt/recolor_fast/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
# As make does: what builds the package is pinned, too.
RUN pip install -c constraints.txt setuptools
COPY recolor_fast recolor_fast

FROM base AS train
RUN pip install -c constraints.txt --no-build-isolation ".[${RUNTIME},train]"
USER 10001:10001
WORKDIR /home/recolor
VOLUME /runs
ENTRYPOINT ["recolor-fast"]
CMD ["train", "--help"]

# The last one is what is built where no target is named.
FROM base AS serve
RUN pip install -c constraints.txt --no-build-isolation ".[${RUNTIME},serve,formats]"
USER 10001:10001
WORKDIR /home/recolor
VOLUME /state
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
# Inside of the container everyone is somebody else: who reaches the port from outside, publishing it decides.
ENTRYPOINT ["recolor-fast", "serve", "--host", "0.0.0.0", "--state", "/state", "--no-open"]
