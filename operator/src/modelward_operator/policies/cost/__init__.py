"""Cost: what CostBudgets leave to a model, and what a ModelPolicy lets it cost."""
