"""Kernels that measure the virtual ensemble of any residual stack: a mask over blocks is data."""
