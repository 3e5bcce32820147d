"""Guards, row rules and roles."""
