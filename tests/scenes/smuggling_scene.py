"""Tricks of request smuggling, sent whole, in pieces and with a follower, before an origin that records every byte."""
