"""Releases: how new code and a new schema take over from the old ones.

A release is loaded, its tables are compared with what is stored, its indexes are built, and one
commit switches to it. Which release a function runs on is part of the snapshot that it runs at, so
a switch is seen by everybody at one timestamp and no transaction sees half of it.
"""
