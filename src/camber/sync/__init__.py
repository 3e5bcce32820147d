"""The sync protocol of one client, without a socket. Pure.

Messages and events go in, effects come out; `server` carries them out. Protocol section 3.
"""
