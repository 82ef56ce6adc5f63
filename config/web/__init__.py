"""HTTP layer around the views: middleware, response headers, client addresses, request log, CSP reports."""
