"""What people promise (service level objectives): their definitions, what is kept of them, and their evaluation."""
