"""Other order books, each in a process of its own with the environment of `requirements.txt`."""
