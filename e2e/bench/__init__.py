"""The benchmarks: `make bench SUITE=…`. One file per suite; each measures on the running cluster, prints a table and writes JSON."""
