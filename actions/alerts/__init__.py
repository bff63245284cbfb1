"""What other systems, and our own detection, say is wrong: taken in, told apart, folded into incidents, kept quiet."""
