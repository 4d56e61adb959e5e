"""Protocol machines without I/O, clock or randomness."""
