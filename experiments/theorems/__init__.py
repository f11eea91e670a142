"""The rows of `experiments.verify_theorems`, one module a subject; see its docstring."""
