"""The command line, the daemon and its HTTP API. Nothing is imported before it is needed: ``--help`` has to be quick."""
