"""Networks, and the operators that they need."""
