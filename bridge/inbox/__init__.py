"""Step 2: turn stored events into facts, in batches, exactly once."""
