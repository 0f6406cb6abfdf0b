"""What access changes from one set to another, in words."""
