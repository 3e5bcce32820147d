"""Input that nobody meant: what decodes it answers as it says, and nothing else. See docs/crashes.md."""
