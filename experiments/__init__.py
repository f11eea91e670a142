"""Experiments: one file a question, its docstring a lab label; started by `launch.figure`."""
