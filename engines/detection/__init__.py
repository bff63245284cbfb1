"""Detection: from numbers to what is bad, and from that to what fires. No input, no output, no clock."""
