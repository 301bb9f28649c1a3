"""What several tests share: real namespaces, stock modules, and saying what is missing."""
