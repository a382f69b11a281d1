"""Command line of mixdit: arguments in, tables and JSON out, no logic of its own."""
