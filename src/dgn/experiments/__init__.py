"""The paper's experiments: one module each, with its function and `summary`."""
