"""Floor 3: the way of a message. One file per station; data flows one way.

    1 webhooks       authenticate on raw bytes, store the raw event, answer
    2 inbox          stored events -> facts, in batches, exactly once
    3 conversations  contact, conversation, request, message; the service window opens or is prolonged
    4 relay          decide: deliver as text, as template, hold, or refuse with a notice; write down why
    5 outbox         claim due deliveries, hand them to the provider, record the attempt, plan the retry

A client's word enters at 1 and goes 2 -> 3 (and, for those who watch, 5). An operator's word enters at 3 (desk,
``/uapi/chat/sendMessage``) and goes 4 -> 5.

Beside the stations: ``windows`` (the 24-hour rule, in one place), ``statuses`` and ``tickets`` (the other half of 3),
``recognising``, ``decisions`` and ``held`` (of 4), ``results``, ``breaker`` and ``replay`` (of 5), ``tracking`` (who is
told of what), ``doorbell`` (wakes the workers), ``housekeeping`` and ``alerts`` (what beat looks after), ``reasons``
(every sentence a person reads when something does not go out). ``uapi`` and ``api`` are the doors for programs,
``desk`` the pages for operators.
"""
