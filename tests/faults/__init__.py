"""Planted faults: small changes of Camber that the proofs must find, each within a few seeds.

A proof that finds nothing proves something only if it would have found what is wrong. `planted`
has the faults, `make faults` plants one after another in a copy of the sources and runs the proof
that is to find it, and docs/faults.md says what came of it. `attacks` are defences that are taken away:
a test of each attack must fail then.
"""
