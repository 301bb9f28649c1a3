"""The numbering: names and addresses computed both ways, the proof that they are, and what a change of it touches."""
