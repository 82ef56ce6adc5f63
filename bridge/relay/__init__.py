"""Step 4: decide what becomes of a reply: text, template, hold or refusal."""
