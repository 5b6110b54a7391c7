"""The interactive page of a run: one HTML file in which the model runs in the browser."""
