"""Proofs: random work on the real thing, judged by models that share no code with it.

`model` is a database that runs one transaction after another; `operations` pairs what a step does
to the model with what it does to a real database; `serial` runs programs of steps at once and
judges that some order of them explains all that was seen. docs/proofs.md says what is proven.
"""
