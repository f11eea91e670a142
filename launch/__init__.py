"""Launchers, run from the checkout as `python -m launch.<name>`; absl lives here alone."""
