"""The HTTP server of the tests' receivers and simulators."""

from http.server import ThreadingHTTPServer


class QueueingHTTPServer(ThreadingHTTPServer):
    """A threading server in which many connections may wait to be accepted.

    With the default queue of five the kernel drops connections that are opened at once, and a call fails after 3 s.
    """

    daemon_threads = True
    request_queue_size = 256
