"""The whole system on one seeded event loop: docs/simulation.md."""
