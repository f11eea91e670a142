"""Pictures of finished records: this room sees numbers, never a network."""
