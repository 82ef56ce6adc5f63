"""Step 5: claim due deliveries, send them, record each attempt, plan retries."""
