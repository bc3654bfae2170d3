"""What a device is good for: its type of computation and its peak."""

from __future__ import annotations

import re

import torch

# Dense bf16 TFLOP/s by the words of a card's name, the first row whose words are all there (vendors' data
# sheets). What is not here has no MFU: a wrong peak is worse than none.
PEAK_TFLOPS: dict[tuple[str, ...], float] = {
    ("GB200",): 2500, ("B200",): 2250, ("GH200",): 989, ("H200", "NVL"): 835, ("H200",): 989,
    ("H100", "PCIe"): 756, ("H100", "NVL"): 835, ("H100",): 989, ("H800",): 989, ("H20",): 148,
    ("A100",): 312, ("A800",): 312, ("A40",): 150, ("A30",): 165, ("A10G",): 70, ("A10",): 125,
    ("L40S",): 362, ("L40",): 181, ("L4",): 121, ("A6000",): 155, ("RTX", "6000", "Ada"): 364,
    ("RTX", "4090", "D"): 147, ("RTX", "4090"): 165, ("RTX", "3090", "Ti"): 80, ("RTX", "3090"): 71,
}  # fmt: skip
OTHER = {"Laptop", "Mobile", "Max", "MIG", "GRID"}  # other clocks, or a part of a card, under its name


def peak_flops(name: str) -> float | None:
    """Return a card's dense bf16 peak per second; None: it is not known."""
    words = set(re.split(r"[^A-Za-z0-9]+", name))
    if words & OTHER:
        return None
    return next((tflops * 1e12 for parts, tflops in PEAK_TFLOPS.items() if words >= set(parts)), None)


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolve auto: bf16 on a GPU and on a CPU with instructions for it (4 to 5 times fp32's speed there),
    else fp32. GPUs before compute capability 8.0 (V100, T4) emulate it, slower than fp32."""
    if name == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            fast = _cpu_has_bf16()
        name = "bf16" if fast else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def _cpu_has_bf16() -> bool:
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in names if hasattr(torch.cpu, name))
