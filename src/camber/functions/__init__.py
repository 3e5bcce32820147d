"""What an application author writes: decorators, contexts, the database, declarations.

`import camber` loads this room and what lies below it, nothing above. How a function is run is the
business of `runtime`, which hands the contexts their transaction and their calls.
"""
