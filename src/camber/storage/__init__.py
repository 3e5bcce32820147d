"""Stores: where commits become durable and snapshots are read.

The verbs of `store` are all that the engine knows; one contract suite runs against every engine.
All of them are plain blocking functions.
"""
