"""Files of messages: inbound downloads, operator uploads, links to share, uploads to providers."""
