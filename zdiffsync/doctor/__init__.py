"""What a backup needs, checked: one module a topic. Rule: finds out, says, never repairs."""
