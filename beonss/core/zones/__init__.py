"""What DNS says: records as values, computed and static zones, and whole zones as streams."""
