"""Answers to online requests: a client, its response, and an HTTP server on top."""
