"""Random numbers that depend on nothing but their place: hashes of a seed, a photograph's number and a pixel.

On the host scalars, numpy; on any device fields, torch, of integer arithmetic: the same for every batch and device.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LOW = 0xFFFFFFFF  # the low 32 bits


def uniforms(seed: int, numbers: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """Float64 (N,len(names),count), uniform in [0,1), of photographs `numbers`, int (N,), 0 or more.

    Each depends on `seed` (0 to 2^63 - 1), its photograph's number, its name and its place among the `count`.
    """
    streams = np.array([zlib.crc32(name.encode()) for name in names], np.uint64)
    bits = _mixed(_mixed(np.array([seed], np.uint64)) + numbers.astype(np.uint64))
    bits = _mixed(bits[:, None] ^ _mixed(streams))
    bits = _mixed(bits[:, :, None] + np.arange(count, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hashed(key: Tensor, count: int) -> Tensor:
    """Int64 (N,count), each in 0..2^32-1, of `key`, int64 (N,), each in 0..2^32-1."""
    bits = (torch.arange(count, device=key.device) * 0x9E3779B1 + key[:, None]) & LOW
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):  # factors below 2^31: no product leaves int64
        bits = ((bits ^ (bits >> shift)) * factor) & LOW
    return bits ^ (bits >> 15)


def white(key: Tensor, size: int) -> Tensor:
    """White noise, float32 (N,1,size,size), uniform in 256 steps from -1 to 1, of `key`, int64 (N,); `size` even."""
    bits = hashed(key, size * size // 4).to(torch.int32).view(torch.uint8)  # four pixels of each hash
    return (bits.float() / 127.5 - 1).view(-1, 1, size, size)


def clouds(key: Tensor, size: int, cells: int) -> Tensor:
    """Smooth noise, float32 (N,1,size,size), about -0.8 to 0.8, whose hills are size / cells pixels wide or wider.

    A uniform cubic B-spline over (cells + 3)^2 values of `key`, int64 (N,).
    """
    values = hashed(key, (cells + 3) ** 2).float().view(-1, 1, cells + 3, cells + 3) / 2**31 - 1
    place = (torch.arange(size, device=key.device) + 0.5) * (cells / size) + 1
    distance = (place[:, None] - torch.arange(cells + 3, device=key.device)).abs()
    basis = ((2 - distance).clamp(min=0) ** 3 - 4 * (1 - distance).clamp(min=0) ** 3) / 6
    return basis @ values @ basis.T


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Uint64 of the same shape: the finalizer of SplitMix64 (Steele et al. 2014), after its increment."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
