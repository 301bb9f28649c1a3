"""Users and groups: values, what registers mean, how they are changed, found, taken over and handed out."""
