"""Moves the networks: state, losses, optimizer, step, loop; checkpoints, metrics and workdirs."""
