"""The payload log: what a sample of calls asked and was answered, after redaction. Off unless a policy asks for it."""
