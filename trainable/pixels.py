"""From 8-bit RGB to what the encoders expect."""

import torch

# ImageNet's channel statistics, which the pretrained encoders were trained with (RGB, for values in 0..1).
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalise(images_NCHW: torch.Tensor, device: torch.device, memory_format: torch.memory_format) -> torch.Tensor:
    """Move uint8 images to the device and normalise them there.

    Args:
        images_NCHW: uint8, RGB.
        device: Where the network is.
        memory_format: The network's.

    Returns:
        float32 of the same shape.
    """
    mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(_STD, device=device).view(1, 3, 1, 1) * 255
    moved = images_NCHW.to(device, non_blocking=True).to(torch.float32)
    return ((moved - mean) / std).contiguous(memory_format=memory_format)
