"""From 8-bit RGB to what the encoders expect."""

import functools

import torch

# ImageNet's channel statistics, which the pretrained encoders were trained with (RGB, for values in 0..1).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalise(images_NCHW: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move uint8 images to the device and normalise them there.

    Args:
        images_NCHW: uint8, RGB.
        device: Where the network is.

    Returns:
        float32 of the same shape, channels last as `trainable.device.Compute.memory_format`.
    """
    mean, std = _statistics(device)
    pixels_NCHW = images_NCHW.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last)
    # Whole lines of interleaved channels: three values at a time would take ten times as long.
    n, _, height, width = images_NCHW.shape
    lines = pixels_NCHW.permute(0, 2, 3, 1).view(n, height, 3 * width)
    lines.sub_(mean.repeat(width)).div_(std.repeat(width))
    return pixels_NCHW


@functools.cache
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of 8-bit channels; made once, because a copy from here makes a GPU wait."""
    return torch.tensor(_MEAN, device=device) * 255, torch.tensor(_STD, device=device) * 255
