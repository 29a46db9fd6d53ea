"""The audit log: one record per inference call, chained by hashes and signed at checkpoints. The format is in AUDIT.md."""
