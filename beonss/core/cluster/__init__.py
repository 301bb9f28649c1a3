"""The machines among themselves: who is a master, where it is reached, and what each says of itself."""
