"""The typed kinds: the one source of the CRDs, of parsing and of the field reference.

Pure: no I/O, no clock. `parse` turns a raw object into a `ModelDeployment` or into every field error at once.
"""
