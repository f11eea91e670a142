"""What a run costs a device, before it is started there: programs compiled for it, and read."""
