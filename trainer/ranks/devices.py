"""What a device is good for: its type of computation and its peak."""

from __future__ import annotations

import re
from pathlib import Path

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
    """Resolve auto: bf16 on a GPU and on a CPU that multiplies in it faster than in fp32, else fp32. GPUs
    before compute capability 8.0 (V100, T4) emulate it, slower than fp32."""
    if name == "auto":
        if device.type == "cuda":
            fast = torch.cuda.get_device_capability(device) >= (8, 0)
        else:
            fast = _cpu_gains_by_bf16()
        name = "bf16" if fast else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def _cpu_gains_by_bf16() -> bool:
    """AMX multiplies 4 to 5 times as fast as fp32. AVX-512's bf16 does on Intel half as fast: one product of
    32 a cycle against two fused ones of 16, and what surrounds it (measured: 75 against 140 GFLOP/s)."""
    if _has("_is_amx_tile_supported"):
        return True
    return _has("_is_avx512_bf16_supported") and _vendor() != "GenuineIntel"


def _has(name: str) -> bool:
    return bool(getattr(torch.cpu, name)()) if hasattr(torch.cpu, name) else False


def _vendor() -> str | None:
    """The processor's maker as Linux names it; None elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    found = re.search(r"^vendor_id\s*:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else None
