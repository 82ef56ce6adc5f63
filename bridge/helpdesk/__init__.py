"""Connections to external helpdesks: send what clients write, follow what operators do.

`fanout.helpdesk_messages` queues and `sending` sends; `incoming` reads the helpdesk's webhook events with the rules of
`reply_identity`; `mirroring` follows its requests; `fanout.operator_notes` writes to its operators.
"""
