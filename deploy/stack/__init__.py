"""The stack of docker-compose.yml without Docker: the same processes with the same configurations, on this machine."""
