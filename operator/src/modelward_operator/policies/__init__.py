"""The rooms: one folder per policy, each a pure function from facts to a ruling. See rooms.py."""
