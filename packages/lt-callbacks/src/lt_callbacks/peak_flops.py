"""How many floating point operations a second a device can do at best, as its maker says.

The numbers are those of NVIDIA's data sheets for dense matrices; where a sheet gives numbers for sparse ones, half of
them. A device that is not listed has no utilisation, rather than a wrong one.
"""

from __future__ import annotations

import torch

__all__ = ["get_available_flops"]

_F64, _F32, _TF32, _HALF = "float64", "float32", "tfloat32", "half"

# By a part of the device's name, the longer before the shorter. Half is bfloat16, and float16 with sums in float32.
_PEAKS: tuple[tuple[str, dict[str, float]], ...] = (
    ("h100 pcie", {_F64: 26e12, _F32: 51e12, _TF32: 378e12, _HALF: 756e12}),
    ("h100 nvl", {_F64: 30e12, _F32: 60e12, _TF32: 417.5e12, _HALF: 835.5e12}),
    ("h200 nvl", {_F64: 30e12, _F32: 60e12, _TF32: 417.5e12, _HALF: 835.5e12}),
    ("h100", {_F64: 34e12, _F32: 67e12, _TF32: 494.5e12, _HALF: 989.5e12}),
    ("h200", {_F64: 34e12, _F32: 67e12, _TF32: 494.5e12, _HALF: 989.5e12}),
    ("a100", {_F64: 9.7e12, _F32: 19.5e12, _TF32: 156e12, _HALF: 312e12}),
    ("l40s", {_F32: 91.6e12, _TF32: 183e12, _HALF: 362e12}),
    ("l40", {_F32: 90.5e12, _TF32: 90.5e12, _HALF: 181e12}),
    ("l4", {_F32: 30.3e12, _TF32: 60e12, _HALF: 121e12}),
    ("a40", {_F32: 37.4e12, _TF32: 74.8e12, _HALF: 149.7e12}),
    ("a10", {_F32: 31.2e12, _TF32: 62.5e12, _HALF: 125e12}),
    ("v100", {_F64: 7.8e12, _F32: 15.7e12, _HALF: 125e12}),
    ("t4", {_F32: 8.1e12, _HALF: 65e12}),
    ("rtx 4090", {_F32: 82.6e12, _TF32: 82.6e12, _HALF: 165.2e12}),
    ("rtx 3090", {_F32: 35.6e12, _TF32: 35.6e12, _HALF: 71e12}),
)


def get_available_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Return the operations a second that a device can do at best, or None where that is not known.

    Args:
        device: The device.
        dtype: What is computed in. For float32 the setting `torch.set_float32_matmul_precision` counts.

    Example:
        >>> get_available_flops(torch.device("cpu"), torch.float32) is None
        True
    """
    if device.type != "cuda":
        return None
    return peak_of(torch.cuda.get_device_name(device), dtype)


def peak_of(name: str, dtype: torch.dtype) -> float | None:
    """Return the operations a second of a device of that name, or None where it is not listed.

    Args:
        name: As the driver tells it.
        dtype: What is computed in.

    Example:
        >>> peak_of("NVIDIA A100-SXM4-80GB", torch.bfloat16)
        312000000000000.0
    """
    chip = f" {name.lower().replace('-', ' ').replace('_', ' ')} "
    peaks = next((peaks for part, peaks in _PEAKS if f" {part} " in chip or f" {part}g " in chip), None)
    if peaks is None:
        return None
    if dtype in (torch.bfloat16, torch.float16):
        return peaks[_HALF]
    if dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        return peaks.get(_TF32, peaks[_F32])
    return peaks.get({torch.float32: _F32, torch.float64: _F64}.get(dtype, ""))
