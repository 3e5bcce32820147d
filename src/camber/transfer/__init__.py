"""Data on its way in and out: snapshot exports and imports, and the streams that other systems follow.

What a person asks for here takes longer than a request, so each export and import is a document of
a system table; whoever waits for it subscribes to that.
"""
