"""The live page: watch the agent, talk with it, take over, keep a clip. Served to this machine alone."""
