"""Snapshots, transactions, the committer, system tables.

A transaction reads one snapshot plus its own writes and records what it looked at; the committer
orders finished transactions, refuses those whose reads a concurrent commit has touched, makes the
rest durable in groups and publishes them. Documents are plain field dictionaries here: the Python
classes of an application begin in `functions`.
"""
