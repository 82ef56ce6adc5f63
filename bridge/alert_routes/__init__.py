"""Alert routes: what each route has not been notified of, the text of its messages, and the requests that carry them.

`planning` creates deliveries, and `bridge.outbox` sends them.
"""
