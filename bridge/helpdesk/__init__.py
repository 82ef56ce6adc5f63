"""Outside helpdesks: send them what clients write, follow what their operators do.

``fanout.helpdesk_messages`` queues and ``sending`` sends; ``incoming`` reads the helpdesk's webhook events by the rule
in ``identity``, ``mirroring`` follows its requests, ``fanout.operator_notes`` writes to its operators.
"""
