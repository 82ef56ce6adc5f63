"""Fan-out: deliveries of events to the API channels that track them and to external helpdesks."""
