"""Analysis: what trained networks are, checkpoint by checkpoint, as records on disk."""
