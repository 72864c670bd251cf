"""Waiting for a device, without which a clock times what it was told and not what it did."""

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
