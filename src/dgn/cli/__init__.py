"""One module a subcommand: its arguments, and the wiring of the parts that do the work."""
