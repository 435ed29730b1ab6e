"""Faces of other libraries, so that scripts written for them run on Artline."""
