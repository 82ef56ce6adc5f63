"""Who is notified of an event: API channels that track it, and outside helpdesks."""
