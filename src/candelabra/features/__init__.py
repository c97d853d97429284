"""Numbers per closed bar: named causal features, their scaling, and which of them say the same thing."""
