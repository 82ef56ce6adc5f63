"""Templates as values, without a database: structure, rendering, validation."""
