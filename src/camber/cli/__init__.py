"""The command line: `camber dev` and its like."""
