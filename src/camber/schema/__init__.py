"""Tables and validators from Python annotations. Pure.

`annotations` says what may be written, `compiler` turns an annotation into a plan, and a plan
checks, decodes and encodes values and says what it accepts. `table` is the base class of
documents, `arguments` binds the arguments of a function.
"""
