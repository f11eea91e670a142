"""Data: what networks are trained on, as arrays.

`datasets.load` is the front door; `gaussians`, `digits`, `npz` and `images` are what stands
behind it; `batches` is what a training step does to the arrays, on the device.
"""
