"""The status of a ModelDeployment: one pure function from facts to what the user reads."""
