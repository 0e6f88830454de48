"""What `bench/small_captioners.py` stands on: scenes, vision towers, five families and how they are trained."""
