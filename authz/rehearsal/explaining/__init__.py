"""Each step of one decision, of a described request or from its record."""
