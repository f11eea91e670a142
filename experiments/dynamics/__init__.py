"""What `depth_over_training` is made of: its trainings, its looks at them, its rules."""
