"""What a privacy policy does to requests: what the model may see of a caller's tensors, and the caller of the model's.

    policy.json ─▶ config.py: records ─▶ compile.py: checked against the model ─▶ rules.py: Rules, frozen
                                             │ every error with its path              │ `states.clear`    ─▶ input.py, pii/
                                             └ PolicyUnsatisfiable                    └ `states.release`  ─▶ output.py

`config.py` is imported with the file contract and is light; the rest comes with the request path. What each field promises and does not:
runtime/PRIVACY.md. The package must not know transports, and does no I/O but to read the hash key when a policy is taken.
"""
