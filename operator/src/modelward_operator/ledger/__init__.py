"""What models have cost: an account by the quarter hour, in integers of nano units, and its form in CostLedgers."""
