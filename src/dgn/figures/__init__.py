"""Pictures of runs, as PNG files and moving pictures."""
