"""Where records go that must outlive a request: used by `audit/` and `payloads/`, which know what is in them."""
