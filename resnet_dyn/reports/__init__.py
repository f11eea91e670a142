"""Measures joined to their pictures and columns: tables, notes, pictures, and the one call."""

from resnet_dyn.reports.any_network import analyze

__all__ = ['analyze']
