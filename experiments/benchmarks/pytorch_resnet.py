"""CIFAR ResNets in eager PyTorch, the twins of `cifar_resnet(depth, 'postact')` in races."""

import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, a parameter-free shortcut, ReLU after the addition."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.stride = 1 if channels_in == channels else 2
        self.extra = channels - channels_in
        self.conv_0 = nn.Conv2d(channels_in, channels, 3, self.stride, 1, bias=False)
        self.norm_0 = nn.BatchNorm2d(channels)
        self.conv_1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm_1 = nn.BatchNorm2d(channels)

    def branch(self, h):
        h = functional.relu(self.norm_0(self.conv_0(h)))
        return self.norm_1(self.conv_1(h))

    def skip(self, h):
        if not self.extra:
            return h
        low = self.extra // 2
        return functional.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, low, self.extra - low))

    def forward(self, h):
        return functional.relu(self.skip(h) + self.branch(h))


def resnet(depth: int) -> nn.Sequential:
    """The 6n+2 net with 269,722 parameters at depth 20."""
    length = (depth - 2) // 6
    widths = [16] + [width for width in (16, 32, 64) for _ in range(length)]
    blocks = [Block(a, b) for a, b in itertools.pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*stem, *blocks, *head).to(memory_format=torch.channels_last)


def steps(depth: int, batch: int, number: int) -> Callable[[], None]:
    """A call that trains for `number` steps on one random batch."""
    net = resnet(depth)
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=1e-4, nesterov=True)

    def run():
        for _ in range(number):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
            optimizer.step()

    return run


def lesions(depth: int, batch: int, masks_ML) -> Callable[[], list[float]]:
    """A call that scores masks one after the other, the stem once, deleted blocks skipped."""
    net = resnet(depth).eval()
    stem, blocks, head = net[:3], net[3:-3], net[-3:]
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    @torch.no_grad()
    def run():
        losses, h_0 = [], stem(images)
        for mask in masks_ML:
            h = h_0
            for block, gate in zip(blocks, mask, strict=True):
                h = block(h) if gate else functional.relu(block.skip(h))
            losses.append(functional.cross_entropy(head(h), labels).item())
        return losses

    return run


def block_evaluations(depth: int, batch: int) -> dict[str, Callable[[], object]]:
    """A call for one block of each width that runs it on a batch."""
    blocks = resnet(depth).eval()[3:-3]
    calls = {}
    for width, side in ((16, 32), (32, 16), (64, 8)):
        block = next(b for b in blocks if not b.extra and b.conv_0.in_channels == width)
        h = torch.randn(batch, width, side, side).relu().to(memory_format=torch.channels_last)
        calls[f'PyTorch, {side}x{side}x{width}'] = torch.no_grad()(
            lambda block=block, h=h: block(h)
        )
    return calls
