"""The HTTP server of online features: an ASGI application, what it measures, and the processes that run it."""
