"""One typed tree of settings, from defaults, a file, the environment and the command line."""
