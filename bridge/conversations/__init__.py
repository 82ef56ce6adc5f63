"""Step 3: contacts, conversations, requests, messages and their statuses."""
