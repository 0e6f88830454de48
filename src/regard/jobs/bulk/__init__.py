"""Bulk work: any number of pictures in shards, in units that each give one file, whoever does them and in which order.

source → plan → engine → worker → part-*.parquet → manifest.json
shards   units  who does  reads, decodes and    last
                which     computes one unit

A unit's name is a hash of all that decides its content, its file is written once, by conditional create, and a unit
that is there is not done again: interruptions, several jobs at once and another number of workers change no byte.
"""
