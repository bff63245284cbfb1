"""Service level objectives: from an indicator to PromQL, from counted events to budgets, burns and alerts."""
