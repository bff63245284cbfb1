"""Who asks: from what a request carries to an actor, or a refusal."""
