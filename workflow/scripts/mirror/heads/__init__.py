"""Models on vectors: scaling, logistic, hazards, Cox."""
