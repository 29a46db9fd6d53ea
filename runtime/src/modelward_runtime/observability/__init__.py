"""Following single requests through their stages: the slow-request log and traces. Off unless somebody asks for it."""
