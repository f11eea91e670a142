"""Residual networks whose gammas are explicit parameters and whose every branch has a gate."""
