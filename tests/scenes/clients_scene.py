"""Programs that people use get right answers through it: curl, wrk, h2load, node, python, a browser."""
