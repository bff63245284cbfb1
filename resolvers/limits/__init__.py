"""How much may be asked for: of one document, of one operation, and over time."""
