"""Step 4: decide about a reply: send as text, send as template, hold or refuse."""
