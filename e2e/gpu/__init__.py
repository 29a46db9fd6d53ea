"""What only a GPU can show: that it computes what the processor computes, and what batches gain. `python -m e2e.gpu.check`."""
