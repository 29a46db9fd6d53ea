"""`modelward-operator simulate`: a request trace, replayed through the operator's own decisions on pods that exist only on paper."""
