"""Captions of pictures, one by one: what goes in, how, and the job that gives them with a map for each word."""
