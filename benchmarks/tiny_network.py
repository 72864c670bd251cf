"""A network that learns the synthetic set in seconds, named in a config as `benchmarks.tiny_network:TinyNetwork`."""

from torch import Tensor, nn


class TinyNetwork(nn.Module):
    """Three dilated convolutions at full resolution: the made classes are told apart by colour and close context.

    Args:
        num_classes: Channels of the logits.
        width: Channels inside.
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(3, width, 1), _block(width, width, 2), _block(width, width, 4))
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Map images to logits of the same height and width."""
        logits: Tensor = self.head(self.body(images_NCHW))
        return logits


def _block(channels_in: int, channels_out: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())
