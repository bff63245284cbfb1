"""What clients can change: each mutation is one action in one transaction, and answers with a payload."""
