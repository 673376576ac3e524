"""Reading features over HTTP: our server and Feast's, under a load generator. See __main__.py."""
