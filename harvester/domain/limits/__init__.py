"""When a request may go out: rates, quotas, and circuit breakers."""
