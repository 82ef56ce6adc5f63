"""Message flow: one package per step, data flows one way.

    1 intake         authenticate raw requests, store them, answer
    2 inbox          stored events -> facts, in batches, exactly once
    3 conversations  find or create contact, conversation and request; store the message; extend the service window
    4 relay          decide: send as text, send as template, hold, or refuse with a reason
    5 outbox         claim due deliveries, send them, record each attempt, plan the retry

A client's message enters at 1 and goes 2 -> 3 and, for every subscriber, 5 (``fanout`` selects the subscribers). An
operator's reply enters at 3 (desk, API) or at 1 (external helpdesk) and goes 4 -> 5.

``service_window`` implements the 24-hour rule, ``outcomes`` lists every reason why a message was not sent, ``wakeups``
notifies the workers. docs/architecture.md describes the other packages.
"""
