"""Declares the operators that a torchvision built for GPUs lacks beside a PyTorch for CPUs.

Without them it cannot be imported, nor what imports it (transformers, timm). Import this first.
"""

import torch

_library = torch.library.Library('torchvision', 'FRAGMENT')
for _name in ('nms', 'qnms'):
    if not hasattr(torch.ops.torchvision, _name):
        _library.define(f'{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
