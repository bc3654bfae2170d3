# Workers and the head of a Ray cluster: the pipeline with the CPU build of torch.
# Build from the root of the checkout:  docker build -f docker/worker.Dockerfile -t gristmill-worker .
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends build-essential wget rsync openssh-client procps \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# fasttext-modern and pycld2 come as wheels on x86-64; elsewhere the compiler above builds them.
RUN python -m pip install --no-cache-dir build && python -m build --wheel --outdir /wheels . \
    && python -m pip install --no-cache-dir -c constraints.txt /wheels/*.whl "s3fs"
WORKDIR /work
ENV RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
CMD ["gristmill", "--help"]
