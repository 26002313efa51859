"""Many runs as one question: grids, comparisons, learning-rate range tests and sweeps."""
