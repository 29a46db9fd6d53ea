"""Access: who may connect to the endpoint."""
