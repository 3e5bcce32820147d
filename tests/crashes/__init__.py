"""Crashes, lost power, bad disks, bad input: what is left, and who is told what. See docs/crashes.md."""
